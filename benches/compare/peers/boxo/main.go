// What boxo, of which Kubo is made, does with the jobs `hamt` and `mfs` of benches/compare/src/tree.rs: the same names, the
// same parameters (unixfs-v1-2025), in a store in memory.
//
//	boxo-peer hamt COUNT   a directory of so many names, and lookups in it, each from the root
//	boxo-peer mfs COUNT    a tree of so many files in 100 directories, and one of them changed
//
// Lines of figures: what, and the seconds or the number of it; then the root.
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/ipfs/boxo/blockservice"
	"github.com/ipfs/boxo/blockstore"
	"github.com/ipfs/boxo/exchange/offline"
	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs/io"
	"github.com/ipfs/boxo/mfs"
	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/sync"
	ipld "github.com/ipfs/go-ipld-format"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

var (
	ctx     = context.Background()
	prefix  = merkledag.V1CidPrefix()
	written atomic.Int64
)

// Counts the blocks that are put.
type counted struct{ blockstore.Blockstore }

func (c counted) Put(ctx context.Context, block blocks.Block) error {
	written.Add(1)
	return c.Blockstore.Put(ctx, block)
}

func (c counted) PutMany(ctx context.Context, some []blocks.Block) error {
	written.Add(int64(len(some)))
	return c.Blockstore.PutMany(ctx, some)
}

func open() ipld.DAGService {
	store := counted{blockstore.NewBlockstore(sync.MutexWrap(datastore.NewMapDatastore()))}
	return merkledag.NewDAGService(blockservice.New(store, offline.Exchange(store)))
}

func timed(what string, work func()) {
	start := time.Now()
	work()
	fmt.Printf("%s %.6f\n", what, time.Since(start).Seconds())
}

// An empty file.
func file(dag ipld.DAGService) ipld.Node {
	node := merkledag.NewRawNode(nil)
	check(dag.Add(ctx, node))
	return node
}

func hamt(count int) {
	dag := open()
	child := file(dag)
	var root ipld.Node
	timed("build", func() {
		directory, err := io.NewDirectory(dag, io.WithCidBuilder(prefix), io.WithSizeEstimationMode(io.SizeEstimationBlock))
		check(err)
		for n := range count {
			check(directory.AddChild(ctx, fmt.Sprintf("entry %d", n), child))
		}
		root, err = directory.GetNode()
		check(err)
		check(dag.Add(ctx, root))
	})
	lookups := min(count, 10000)
	timed("lookup", func() {
		for n := range lookups {
			node, err := dag.Get(ctx, root.Cid())
			check(err)
			directory, err := io.NewDirectoryFromNode(dag, node)
			check(err)
			_, err = directory.Find(ctx, fmt.Sprintf("entry %d", (n*7919)%count))
			check(err)
		}
	})
	fmt.Println("root", root.Cid())
}

func tree(count int) {
	dag := open()
	published := func(context.Context, cid.Cid) error { return nil }
	root, err := mfs.NewEmptyRoot(ctx, dag, published, nil, mfs.WithCidBuilder(prefix),
		mfs.WithSizeEstimationMode(io.SizeEstimationBlock))
	check(err)
	child := file(dag)
	timed("build", func() {
		for n := range 100 {
			check(mfs.Mkdir(root, fmt.Sprintf("/%d", n), mfs.MkdirOpts{Flush: false}, mfs.WithCidBuilder(prefix)))
		}
		for n := range count {
			check(mfs.PutNode(root, fmt.Sprintf("/%d/file %d", n%100, n), child))
		}
		check(root.Flush())
	})
	written.Store(0)
	timed("change", func() {
		found, err := mfs.Lookup(root, "/42/file 1042")
		check(err)
		handle, err := found.(*mfs.File).Open(ctx, mfs.Flags{Write: true, Sync: true})
		check(err)
		_, err = handle.WriteAt([]byte("changed"), 0)
		check(err)
		check(handle.Close())
		check(root.Flush())
	})
	fmt.Println("blocks", written.Load())
	node, err := root.GetDirectory().GetNode()
	check(err)
	fmt.Println("root", node.Cid())
}

func main() {
	if len(os.Args) == 3 {
		count, err := strconv.Atoi(os.Args[2])
		check(err)
		switch os.Args[1] {
		case "hamt":
			hamt(count)
			return
		case "mfs":
			tree(count)
			return
		}
	}
	fmt.Fprintln(os.Stderr, "boxo-peer hamt COUNT | mfs COUNT")
	os.Exit(2)
}
