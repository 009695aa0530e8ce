// What go-libp2p-kad-dht, which Kubo uses, does with a table of hashes on one machine.
//
//	dht-peer network COUNT     so many servers in this process; prints their addresses, then "ready"
//	dht-peer node ADDRESS...   one client, connected to those servers; prints "ready"
//
// Both then obey lines on their standard input, and answer each with one line that begins with its
// first word, or with "error". The network:
//
//	requests        what its servers were asked since the last time: a kind and a number, for each kind
//	holders CID     how many servers have a record of a provider, and how many of the 20 closest do
//	memory          bytes resident
//
// The node:
//
//	lookup COUNT    closest peers of so many random keys, one after the other: milliseconds, peers found
//	provide COUNT   announces so many random blocks one by one: milliseconds, how many failed
//	sweep COUNT     announces so many at once with the sweeping provider, as Kubo sets it up:
//	                milliseconds until all are announced, how many failed
//	findprovs CID... asks for a provider of each, which another node announced (what a node announced
//	                it knows itself): milliseconds, how many have one
//	keys COUNT      CIDs of so many of those announced
//	memory          bytes resident
//
// Peers of the public network drop private addresses, those of a LAN public ones, and all drop loopback.
// So this is the network of the LAN as Kubo has it, /ipfs/lan/kad/1.0.0, but with a filter that drops
// loopback alone, on the first address of the machine that is not loopback, whichever it is, over TCP.
// Limits of connections from one address are off, as all have the same one.
package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	"github.com/libp2p/go-libp2p"
	dht "github.com/libp2p/go-libp2p-kad-dht"
	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	"github.com/libp2p/go-libp2p-kad-dht/provider"
	"github.com/libp2p/go-libp2p-kad-dht/provider/keystore"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	mh "github.com/multiformats/go-multihash"
)

var ctx = context.Background()

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// The first address of this machine that is not loopback.
func address() string {
	addresses, err := net.InterfaceAddrs()
	check(err)
	for _, address := range addresses {
		if of, ok := address.(*net.IPNet); ok && !of.IP.IsLoopback() && of.IP.To4() != nil {
			return of.IP.String()
		}
	}
	check(errors.New("this machine has no address but loopback"))
	return ""
}

func withoutLoopback(addresses []ma.Multiaddr) []ma.Multiaddr {
	return slices.DeleteFunc(slices.Clone(addresses), manet.IsIPLoopback)
}

func open(mode dht.ModeOpt, options ...dht.Option) *dht.IpfsDHT {
	host, err := libp2p.New(
		libp2p.ListenAddrStrings("/ip4/"+address()+"/tcp/0"),
		libp2p.ResourceManager(&network.NullResourceManager{}),
		libp2p.DisableRelay(),
	)
	check(err)
	options = append(options,
		dht.Mode(mode),
		dht.ProtocolExtension("/lan"),
		dht.AddressFilter(withoutLoopback),
	)
	table, err := dht.New(host, options...)
	check(err)
	return table
}

func info(table *dht.IpfsDHT) peer.AddrInfo {
	return peer.AddrInfo{ID: table.PeerID(), Addrs: table.Host().Addrs()}
}

// Learns of the others from those that it is connected to.
func learn(table *dht.IpfsDHT) {
	for table.RoutingTable().Size() == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	check(<-table.RefreshRoutingTable())
}

func memory() (string, error) {
	status, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return "", err
	}
	pages, err := strconv.Atoi(strings.Fields(string(status))[1])
	return strconv.Itoa(pages * os.Getpagesize()), err
}

// A line is a word and what belongs to it; the answer is the word and what this gives.
func obey(answer func(word string, arguments []string) (string, error)) {
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) == 0 {
			continue
		}
		said, err := answer(words[0], words[1:])
		if err != nil {
			fmt.Println("error", err)
			continue
		}
		fmt.Println(words[0], said)
	}
	check(lines.Err())
}

func number(arguments []string) (int, error) {
	if len(arguments) != 1 {
		return 0, errors.New("it wants a number")
	}
	return strconv.Atoi(arguments[0])
}

func runNetwork(count int) {
	var lock sync.Mutex
	requests := map[string]int{}
	hook := func(_ context.Context, _ network.Stream, request *pb.Message) {
		lock.Lock()
		defer lock.Unlock()
		requests[request.GetType().String()]++
	}
	servers := make([]*dht.IpfsDHT, count)
	for at := range servers {
		servers[at] = open(dht.ModeServer, dht.OnRequestHook(hook))
		// Some that came before: the first, and others far apart.
		some := map[int]bool{}
		for step := at; step > 0 && len(some) < 8; step /= 2 {
			some[at-step] = true
		}
		for before := range some {
			check(servers[at].Host().Connect(ctx, info(servers[before])))
		}
	}
	for range 2 {
		var all sync.WaitGroup
		for _, server := range servers {
			all.Go(func() { learn(server) })
		}
		all.Wait()
	}
	for _, server := range servers {
		fmt.Printf("%s/p2p/%s\n", server.Host().Addrs()[0], server.PeerID())
	}
	lock.Lock()
	clear(requests)
	lock.Unlock()
	obey(func(word string, arguments []string) (string, error) {
		switch word {
		case "requests":
			lock.Lock()
			defer lock.Unlock()
			var said []string
			for kind, count := range requests {
				said = append(said, fmt.Sprint(kind, " ", count))
			}
			clear(requests)
			slices.Sort(said)
			return strings.Join(said, " "), nil
		case "holders":
			return holders(servers, arguments)
		case "memory":
			return memory()
		}
		return "", errors.New("unknown word")
	})
}

func holders(servers []*dht.IpfsDHT, arguments []string) (string, error) {
	if len(arguments) != 1 {
		return "", errors.New("it wants a CID")
	}
	key, err := cid.Decode(arguments[0])
	if err != nil {
		return "", err
	}
	distance := func(server *dht.IpfsDHT) string {
		at, of := sha256.Sum256(key.Hash()), sha256.Sum256([]byte(server.PeerID()))
		for index := range at {
			at[index] ^= of[index]
		}
		return string(at[:])
	}
	sorted := slices.Clone(servers)
	slices.SortFunc(sorted, func(a, b *dht.IpfsDHT) int {
		return strings.Compare(distance(a), distance(b))
	})
	all, closest := 0, 0
	for at, server := range sorted {
		providers, err := server.ProviderStore().GetProviders(ctx, key.Hash())
		if err != nil {
			return "", err
		}
		if len(providers) > 0 {
			all++
			if at < 20 {
				closest++
			}
		}
	}
	return fmt.Sprint(all, " ", closest), nil
}

type node struct {
	table     *dht.IpfsDHT
	sweeper   *provider.SweepingProvider
	announced []mh.Multihash
}

func random() mh.Multihash {
	bytes := make([]byte, 32)
	_, err := rand.Read(bytes)
	check(err)
	hash, err := mh.Sum(bytes, mh.SHA2_256, -1)
	check(err)
	return hash
}

func (n *node) fresh(count int) []mh.Multihash {
	hashes := make([]mh.Multihash, count)
	for at := range hashes {
		hashes[at] = random()
	}
	n.announced = append(hashes, n.announced...)
	return hashes
}

func (n *node) answer(word string, arguments []string) (string, error) {
	switch word {
	case "memory":
		return memory()
	case "findprovs":
		return n.find(arguments)
	}
	count, err := number(arguments)
	if err != nil {
		return "", err
	}
	start := time.Now()
	done := 0
	switch word {
	case "lookup":
		for range count {
			peers, err := n.table.GetClosestPeers(ctx, string(random()))
			if err != nil {
				return "", err
			}
			done += len(peers)
		}
	case "provide":
		for _, hash := range n.fresh(count) {
			if n.table.Provide(ctx, cid.NewCidV1(cid.Raw, hash), true) != nil {
				done++
			}
		}
	case "sweep":
		done, err = n.sweep(count)
		if err != nil {
			return "", err
		}
	case "keys":
		var said []string
		for _, hash := range n.announced[:min(count, len(n.announced))] {
			said = append(said, cid.NewCidV1(cid.Raw, hash).String())
		}
		return strings.Join(said, " "), nil
	default:
		return "", errors.New("unknown word")
	}
	return took(start, done), nil
}

func (n *node) find(cids []string) (string, error) {
	start, found := time.Now(), 0
	for _, text := range cids {
		key, err := cid.Decode(text)
		if err != nil {
			return "", err
		}
		for range n.table.FindProvidersAsync(ctx, key, 1) {
			found++
		}
	}
	return took(start, found), nil
}

func took(start time.Time, count int) string {
	return fmt.Sprintf("%.3f %d", time.Since(start).Seconds()*1000, count)
}

// Says how many failed.
func (n *node) sweep(count int) (int, error) {
	before, err := n.sweeper.Stats(ctx)
	if err != nil {
		return 0, err
	}
	if err := n.sweeper.StartProviding(true, n.fresh(count)...); err != nil {
		return 0, err
	}
	for {
		now, err := n.sweeper.Stats(ctx)
		if err != nil {
			return 0, err
		}
		provided := now.Operations.Past.KeysProvided - before.Operations.Past.KeysProvided
		failed := now.Operations.Past.KeysFailed - before.Operations.Past.KeysFailed
		waiting := now.Queues.PendingKeyProvides + int64(now.Operations.Ongoing.KeyProvides)
		if provided+failed >= int64(count) && waiting == 0 {
			return int(failed), nil
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func runNode(addresses []string) {
	table := open(dht.ModeClient)
	for _, address := range addresses {
		server, err := peer.AddrInfoFromString(address)
		check(err)
		check(table.Host().Connect(ctx, *server))
	}
	learn(table)
	store := dssync.MutexWrap(datastore.NewMapDatastore())
	keys, err := keystore.NewKeystore(store)
	check(err)
	// What Kubo 0.43 gives it, from its defaults.
	sweeper, err := provider.New(
		provider.WithHost(table.Host()),
		provider.WithReplicationFactor(table.BucketSize()),
		provider.WithSelfAddrs(table.FilteredAddrs),
		provider.WithRouter(table),
		provider.WithMessageSender(table.MessageSender()),
		provider.WithAddLocalRecord(func(hash mh.Multihash) error {
			return table.Provide(ctx, cid.NewCidV1(cid.Raw, hash), false)
		}),
		provider.WithKeystore(keys),
		provider.WithDatastore(store),
		provider.WithReprovideInterval(22*time.Hour),
		provider.WithMaxReprovideDelay(time.Hour),
		provider.WithOfflineDelay(2*time.Hour),
		provider.WithMaxWorkers(16),
		provider.WithDedicatedPeriodicWorkers(2),
		provider.WithDedicatedBurstWorkers(1),
		provider.WithMaxProvideConnsPerWorker(20),
	)
	check(err)
	for {
		now, err := sweeper.Stats(ctx)
		check(err)
		if now.Connectivity.Status == "online" {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	obey((&node{table: table, sweeper: sweeper}).answer)
}

func main() {
	switch {
	case len(os.Args) == 3 && os.Args[1] == "network":
		count, err := strconv.Atoi(os.Args[2])
		check(err)
		if count < 2 {
			check(errors.New("a network has two servers at least"))
		}
		runNetwork(count)
	case len(os.Args) > 2 && os.Args[1] == "node":
		runNode(os.Args[2:])
	default:
		check(errors.New("usage: dht-peer network COUNT | dht-peer node ADDRESS..."))
	}
}
