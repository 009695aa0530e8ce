// The server and the client of delegated routing over HTTP that boxo has, for tests against ours.
//
//	routing-peer serve      serves from a table on a port of 127.0.0.1, and prints its URL
//	routing-peer ask URL    asks the server at the URL, and prints "ready"
//
// Then each line of its standard input is a command, and gets one line of answer, which begins with "error" if it
// failed. PROTOCOLS are joined by commas, "-" for none. Commands of both:
//
//	make SEED SEQUENCE              an IPNS record, valid for an hour: its name, and the record in hexadecimal
//
// Commands of serve:
//
//	provider CID PEER PROTOCOLS ADDRESS...      puts a provider into the table: "ok"
//	peer PEER PROTOCOLS ADDRESS...              puts a peer, which is also one of the closest to any key: "ok"
//	value NAME                                  the record under a name, in hexadecimal
//
// Commands of ask. Peers are PEER PROTOCOLS ADDRESS,ADDRESS each, joined by "; ":
//
//	providers CID | peers PEER | closest CID    the peers that were found
//	get NAME                                    the record under a name, in hexadecimal
//	put NAME HEX                                publishes a record: "ok"
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ipfs/boxo/ipns"
	"github.com/ipfs/boxo/path"
	"github.com/ipfs/boxo/routing/http/client"
	"github.com/ipfs/boxo/routing/http/server"
	"github.com/ipfs/boxo/routing/http/types"
	"github.com/ipfs/boxo/routing/http/types/iter"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/routing"
	"github.com/multiformats/go-multiaddr"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 1 && args[0] == "serve":
		return serve()
	case len(args) == 2 && args[0] == "ask":
		asker, err := client.New(args[1], client.WithProtocolFilter(nil))
		if err != nil {
			return err
		}
		fmt.Println("ready")
		return obey(func(command string, args []string) (string, error) { return ask(asker, command, args) })
	default:
		return errors.New("usage: routing-peer serve | ask URL")
	}
}

// obey answers each line of the standard input.
func obey(act func(command string, args []string) (string, error)) error {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) == 0 {
			continue
		}
		answer, err := "", error(nil)
		if words[0] == "make" {
			answer, err = makeRecord(words[1:])
		} else {
			answer, err = act(words[0], words[1:])
		}
		if err != nil {
			answer = "error " + strings.ReplaceAll(err.Error(), "\n", " ")
		}
		fmt.Println(answer)
	}
	return lines.Err()
}

var errUsage = errors.New("no such command")

func makeRecord(args []string) (string, error) {
	if len(args) != 2 {
		return "", errUsage
	}
	sequence, err := strconv.ParseUint(args[1], 10, 64)
	if err != nil {
		return "", err
	}
	seed := sha256.Sum256([]byte(args[0]))
	key, public, err := crypto.GenerateEd25519Key(bytes.NewReader(seed[:]))
	if err != nil {
		return "", err
	}
	id, err := peer.IDFromPublicKey(public)
	if err != nil {
		return "", err
	}
	value, err := path.NewPath("/ipfs/bafkqaaa")
	if err != nil {
		return "", err
	}
	record, err := ipns.NewRecord(key, value, sequence, time.Now().Add(time.Hour), time.Minute)
	if err != nil {
		return "", err
	}
	raw, err := ipns.MarshalRecord(record)
	return ipns.NameFromPeer(id).String() + " " + hex.EncodeToString(raw), err
}

// table is what the server answers from.
type table struct {
	mutex     sync.Mutex
	providers map[string][]types.Record
	peers     []*types.PeerRecord
	values    map[string]*ipns.Record
}

func serve() error {
	t := &table{providers: map[string][]types.Record{}, values: map[string]*ipns.Record{}}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go http.Serve(listener, server.Handler(t))
	fmt.Println("http://" + listener.Addr().String())
	return obey(t.put)
}

func (t *table) put(command string, args []string) (string, error) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	switch {
	case command == "provider" && len(args) >= 3:
		key, err := cid.Decode(args[0])
		if err != nil {
			return "", err
		}
		record, err := peerRecord(args[1:])
		if err != nil {
			return "", err
		}
		t.providers[string(key.Hash())] = append(t.providers[string(key.Hash())], record)
	case command == "peer" && len(args) >= 2:
		record, err := peerRecord(args)
		if err != nil {
			return "", err
		}
		t.peers = append(t.peers, record)
	case command == "value" && len(args) == 1:
		name, err := ipns.NameFromString(args[0])
		if err != nil {
			return "", err
		}
		return marshal(t.values[name.String()])
	default:
		return "", errUsage
	}
	return "ok", nil
}

func peerRecord(args []string) (*types.PeerRecord, error) {
	id, err := peer.Decode(args[0])
	if err != nil {
		return nil, err
	}
	record := &types.PeerRecord{Schema: types.SchemaPeer, ID: &id}
	if args[1] != "-" {
		record.Protocols = strings.Split(args[1], ",")
	}
	for _, text := range args[2:] {
		address, err := multiaddr.NewMultiaddr(text)
		if err != nil {
			return nil, err
		}
		record.Addrs = append(record.Addrs, types.Multiaddr{Multiaddr: address})
	}
	return record, nil
}

func marshal(record *ipns.Record) (string, error) {
	if record == nil {
		return "", routing.ErrNotFound
	}
	raw, err := ipns.MarshalRecord(record)
	return hex.EncodeToString(raw), err
}

func (t *table) FindProviders(_ context.Context, key cid.Cid, _ int) (iter.ResultIter[types.Record], error) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return iter.ToResultIter(iter.FromSlice(t.providers[string(key.Hash())])), nil
}

func (t *table) FindPeers(_ context.Context, id peer.ID, _ int) (iter.ResultIter[*types.PeerRecord], error) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	var found []*types.PeerRecord
	for _, record := range t.peers {
		if *record.ID == id {
			found = append(found, record)
		}
	}
	return iter.ToResultIter(iter.FromSlice(found)), nil
}

func (t *table) GetClosestPeers(context.Context, cid.Cid) (iter.ResultIter[*types.PeerRecord], error) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return iter.ToResultIter(iter.FromSlice(t.peers)), nil
}

func (t *table) GetIPNS(_ context.Context, name ipns.Name) (*ipns.Record, error) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if record := t.values[name.String()]; record != nil {
		return record, nil
	}
	return nil, routing.ErrNotFound
}

func (t *table) PutIPNS(_ context.Context, name ipns.Name, record *ipns.Record) error {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.values[name.String()] = record
	return nil
}

func (t *table) ProvideBitswap(context.Context, *server.BitswapWriteProvideRequest) (time.Duration, error) {
	return 0, routing.ErrNotSupported
}

func ask(asker *client.Client, command string, args []string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	switch {
	case command == "providers" && len(args) == 1:
		key, err := cid.Decode(args[0])
		if err != nil {
			return "", err
		}
		return describe(asker.FindProviders(ctx, key))
	case command == "peers" && len(args) == 1:
		id, err := peer.Decode(args[0])
		if err != nil {
			return "", err
		}
		return describe(asker.FindPeers(ctx, id))
	case command == "closest" && len(args) == 1:
		key, err := cid.Decode(args[0])
		if err != nil {
			return "", err
		}
		return describe(asker.GetClosestPeers(ctx, key))
	case command == "get" && len(args) == 1:
		name, err := ipns.NameFromString(args[0])
		if err != nil {
			return "", err
		}
		record, err := asker.GetIPNS(ctx, name)
		if err != nil {
			return "", err
		}
		return marshal(record)
	case command == "put" && len(args) == 2:
		name, err := ipns.NameFromString(args[0])
		if err != nil {
			return "", err
		}
		raw, err := hex.DecodeString(args[1])
		if err != nil {
			return "", err
		}
		record, err := ipns.UnmarshalRecord(raw)
		if err != nil {
			return "", err
		}
		return "ok", asker.PutIPNS(ctx, name, record)
	default:
		return "", errUsage
	}
}

func describe[T types.Record](found iter.ResultIter[T], err error) (string, error) {
	if err != nil {
		return "", err
	}
	defer found.Close()
	var peers []string
	for found.Next() {
		item := found.Val()
		if item.Err != nil {
			return "", item.Err
		}
		record, ok := any(item.Val).(*types.PeerRecord)
		if !ok {
			return "", fmt.Errorf("a record of the schema %s", item.Val.GetSchema())
		}
		var addresses []string
		for _, address := range record.Addrs {
			addresses = append(addresses, address.String())
		}
		protocols := strings.Join(record.Protocols, ",")
		if protocols == "" {
			protocols = "-"
		}
		peers = append(peers, fmt.Sprintf("%s %s %s", record.ID, protocols, strings.Join(addresses, ",")))
	}
	return strings.Join(peers, "; "), nil
}
