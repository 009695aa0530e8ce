// A node on boxo that speaks one version of bitswap and no other, for tests against the older ones: Kubo's
// own daemons of today and of years ago all speak the newest.
//
//	bitswap-peer PROTOCOL    /ipfs/bitswap/1.2.0, /ipfs/bitswap/1.1.0, /ipfs/bitswap/1.0.0 or /ipfs/bitswap
//
// It listens on a TCP port of 127.0.0.1, keeps its blocks in memory, and prints its address. Then each line of
// its standard input is a command, and gets one line of answer, which begins with "error" if it failed:
//
//	put COUNT SIZE SEED    so many leaves with SIZE bytes of content each, under a tree of two levels: the root's CID
//	connect MULTIADDR      "connected"
//	get ROOT               fetches all below a CID in one session: the number of blocks, and their bytes
//	block CID              of a block that is here: the SHA-256 of its bytes
//	stat                   what was received so far: blocks, and those of them that it had already
//
// Before version 1.1.0 a message says nothing of a block's CID, which is always version 0: SHA-256 and dag-pb.
// There the leaves are dag-pb nodes; else they are raw blocks, and the nodes above them have CIDs of version 1.
package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ipfs/boxo/bitswap"
	"github.com/ipfs/boxo/bitswap/network/bsnet"
	"github.com/ipfs/boxo/blockservice"
	"github.com/ipfs/boxo/blockstore"
	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	datasync "github.com/ipfs/go-datastore/sync"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// A fetch that takes longer has failed: bitswap itself would wait for ever.
const patience = 2 * time.Minute

// Links of a node above the leaves.
const width = 1000

var protocols = []protocol.ID{
	bsnet.ProtocolBitswap, bsnet.ProtocolBitswapOneOne, bsnet.ProtocolBitswapOneZero, bsnet.ProtocolBitswapNoVers,
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type node struct {
	host     host.Host
	store    blockstore.Blockstore
	exchange *bitswap.Bitswap
	dag      ipld.DAGService
	// Whether blocks have CIDs of version 0.
	old bool
}

func start(ctx context.Context, only protocol.ID) *node {
	// What a test sends is bounded by the test.
	host, err := libp2p.New(
		libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"),
		libp2p.ResourceManager(&network.NullResourceManager{}),
		libp2p.DisableRelay(),
		libp2p.DisableMetrics(),
	)
	check(err)
	store := blockstore.NewBlockstore(datasync.MutexWrap(datastore.NewMapDatastore()))
	link := bsnet.NewFromIpfsHost(host, bsnet.SupportedProtocols([]protocol.ID{only}))
	exchange := bitswap.New(ctx, link, nil, store)
	return &node{
		host:     host,
		store:    store,
		exchange: exchange,
		dag:      merkledag.NewDAGService(blockservice.New(store, exchange)),
		old:      only == bsnet.ProtocolBitswapOneZero || only == bsnet.ProtocolBitswapNoVers,
	}
}

func (n *node) leaf(content []byte) ipld.Node {
	if n.old {
		return merkledag.NodeWithData(content)
	}
	return merkledag.NewRawNode(content)
}

func (n *node) put(ctx context.Context, count, size int, seed uint64) (cid.Cid, error) {
	key := sha256.Sum256(strconv.AppendUint(nil, seed, 10))
	random := rand.NewChaCha8(key)
	root, err := n.parent(nil)
	if err != nil {
		return cid.Undef, err
	}
	for first := 0; first < count; first += width {
		leaves := make([]ipld.Node, 0, width)
		for range min(width, count-first) {
			content := make([]byte, size)
			random.Read(content)
			leaves = append(leaves, n.leaf(content))
		}
		middle, err := n.parent(leaves)
		if err != nil {
			return cid.Undef, err
		}
		if err := n.dag.AddMany(ctx, append(leaves, middle)); err != nil {
			return cid.Undef, err
		}
		if err := root.AddNodeLink("", middle); err != nil {
			return cid.Undef, err
		}
	}
	return root.Cid(), n.dag.Add(ctx, root)
}

func (n *node) parent(children []ipld.Node) (*merkledag.ProtoNode, error) {
	parent := new(merkledag.ProtoNode)
	if !n.old {
		if err := parent.SetCidBuilder(merkledag.V1CidPrefix()); err != nil {
			return nil, err
		}
	}
	for _, child := range children {
		if err := parent.AddNodeLink("", child); err != nil {
			return nil, err
		}
	}
	return parent, nil
}

func (n *node) connect(ctx context.Context, address string) error {
	info, err := peer.AddrInfoFromString(address)
	if err != nil {
		return err
	}
	return n.host.Connect(ctx, *info)
}

func (n *node) get(ctx context.Context, root cid.Cid) (blocks, bytes int, err error) {
	var lock sync.Mutex
	seen := cid.NewSet()
	session := merkledag.NewSession(ctx, n.dag)
	links := func(ctx context.Context, c cid.Cid) ([]*ipld.Link, error) {
		node, err := session.Get(ctx, c)
		if err != nil {
			return nil, err
		}
		lock.Lock()
		defer lock.Unlock()
		blocks++
		bytes += len(node.RawData())
		return node.Links(), nil
	}
	visit := func(c cid.Cid) bool {
		lock.Lock()
		defer lock.Unlock()
		return seen.Visit(c)
	}
	err = merkledag.Walk(ctx, links, root, visit, merkledag.Concurrent())
	return
}

func (n *node) run(ctx context.Context, words []string) (string, error) {
	switch {
	case len(words) == 4 && words[0] == "put":
		count, first := strconv.Atoi(words[1])
		size, second := strconv.Atoi(words[2])
		seed, third := strconv.ParseUint(words[3], 10, 64)
		if err := errors.Join(first, second, third); err != nil {
			return "", err
		}
		root, err := n.put(ctx, count, size, seed)
		return root.String(), err
	case len(words) == 2 && words[0] == "connect":
		return "connected", n.connect(ctx, words[1])
	case len(words) == 2 && words[0] == "get":
		root, err := cid.Decode(words[1])
		if err != nil {
			return "", err
		}
		blocks, bytes, err := n.get(ctx, root)
		if err != nil {
			err = fmt.Errorf("after %d blocks: %w", blocks, err)
		}
		return fmt.Sprint(blocks, " ", bytes), err
	case len(words) == 2 && words[0] == "block":
		c, err := cid.Decode(words[1])
		if err != nil {
			return "", err
		}
		block, err := n.store.Get(ctx, c)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%x", sha256.Sum256(block.RawData())), nil
	case len(words) == 1 && words[0] == "stat":
		stat, err := n.exchange.Stat()
		if err != nil {
			return "", err
		}
		return fmt.Sprint(stat.BlocksReceived, " ", stat.DupBlksReceived), nil
	}
	return "", errors.New("put COUNT SIZE SEED | connect MULTIADDR | get ROOT | block CID | stat")
}

func main() {
	if len(os.Args) != 2 || !slices.Contains(protocols, protocol.ID(os.Args[1])) {
		fmt.Fprintln(os.Stderr, "bitswap-peer PROTOCOL, one of", protocols)
		os.Exit(2)
	}
	ctx := context.Background()
	n := start(ctx, protocol.ID(os.Args[1]))
	fmt.Printf("%s/p2p/%s\n", n.host.Addrs()[0], n.host.ID())
	commands := bufio.NewScanner(os.Stdin)
	for commands.Scan() {
		ctx, cancel := context.WithTimeout(ctx, patience)
		answer, err := n.run(ctx, strings.Fields(commands.Text()))
		cancel()
		if err != nil {
			// A line, whatever it says.
			answer = "error " + strings.Join(strings.Fields(err.Error()), " ")
		}
		fmt.Println(answer)
	}
	check(commands.Err())
	check(n.exchange.Close())
	check(n.host.Close())
}
