// What Kubo's stores of blocks do with the work of benches/compare/src/store.rs: go-ds-flatfs under boxo's
// blockstore, mounted as Kubo mounts it.
//
//	flatfs-peer synced|unsynced FOLDER BYTES COUNT BATCH
//
// Kubo does not sync by default since 0.33; before that it did. The blocks are those of the other stores, and
// so are the lines that are printed.
package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ipfs/boxo/blockstore"
	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/mount"
	flatfs "github.com/ipfs/go-ds-flatfs"
	"github.com/multiformats/go-multihash"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

var (
	ctx    = context.Background()
	prefix = datastore.NewKey("/blocks")
)

// As many as our store has threads for one batch: this one has no calls for many blocks.
const readers = 4

type store struct {
	datastore datastore.Batching
	blocks    blockstore.Blockstore
}

func open(folder string, synced bool) store {
	flat, err := flatfs.CreateOrOpen(folder, flatfs.IPFS_DEF_SHARD, synced)
	check(err)
	mounted := mount.New([]mount.Mount{{Prefix: prefix, Datastore: flat}})
	return store{mounted, blockstore.NewBlockstore(mounted)}
}

func (s store) put(some []blocks.Block) {
	check(s.blocks.PutMany(ctx, some))
	check(s.datastore.Sync(ctx, prefix))
}

// How many of these an answer is given for, by several at the same time.
func count(cids []cid.Cid, ask func(cid.Cid) bool) int {
	var found atomic.Int64
	var all sync.WaitGroup
	for r := range readers {
		all.Go(func() {
			for i := r; i < len(cids); i += readers {
				if ask(cids[i]) {
					found.Add(1)
				}
			}
		})
	}
	all.Wait()
	return int(found.Load())
}

func (s store) get(c cid.Cid) bool {
	_, err := s.blocks.Get(ctx, c)
	return err == nil
}

func (s store) has(c cid.Cid) bool {
	has, err := s.blocks.Has(ctx, c)
	check(err)
	return has
}

func (s store) list() (count int) {
	keys, err := s.blocks.AllKeysChan(ctx)
	check(err)
	for range keys {
		count++
	}
	return
}

func (s store) delete(cids []cid.Cid) {
	for _, c := range cids {
		check(s.blocks.DeleteBlock(ctx, c))
	}
	check(s.datastore.Sync(ctx, prefix))
}

// A block that is made of its number, as the other stores get it.
func block(i uint64, bytes int) blocks.Block {
	data := make([]byte, max(bytes, 8))
	state := i
	var word [8]byte
	for at := 0; at < len(data); at += 8 {
		state = state*0x5851_f42d_4c95_7f2d + (i | 1)
		binary.LittleEndian.PutUint64(word[:], state)
		copy(data[at:], word[:])
	}
	binary.BigEndian.PutUint64(data, i)
	hash, err := multihash.Sum(data, multihash.SHA2_256, -1)
	check(err)
	made, err := blocks.NewBlockWithCid(data, cid.NewCidV1(cid.Raw, hash))
	check(err)
	return made
}

func onDisk(folder string) (sum int64) {
	check(filepath.WalkDir(folder, func(_ string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			info, err := entry.Info()
			check(err)
			sum += info.Size()
		}
		return err
	}))
	return
}

func rate(what string, count, bytes int, took time.Duration) {
	rate := float64(count) / took.Seconds()
	fmt.Printf("%s | %.0f /s | %.0f MB/s\n", what, rate, rate*float64(bytes)/1e6)
}

func expect(found, count int) {
	if found != count {
		check(fmt.Errorf("%d blocks in place of %d", found, count))
	}
}

// Asks for some at a time, and gives how long all took.
func timed(cids []cid.Cid, some int, ask func([]cid.Cid)) time.Duration {
	start := time.Now()
	for from := 0; from < len(cids); from += some {
		ask(cids[from:min(from+some, len(cids))])
	}
	return time.Since(start)
}

func fill(s store, bytes, count, batch int) (cids []cid.Cid, took time.Duration) {
	for from := 0; from < count; from += batch {
		var some []blocks.Block
		for i := from; i < min(from+batch, count); i++ {
			some = append(some, block(uint64(i), bytes))
			cids = append(cids, some[i-from].Cid())
		}
		start := time.Now()
		s.put(some)
		took += time.Since(start)
	}
	return
}

func compare(s store, folder string, bytes, total, batch int) {
	cids, took := fill(s, bytes, total, batch)
	rate("put and flush", total, bytes, took)
	fmt.Printf("on disk | %.2f of the data | -\n", float64(onDisk(folder))/float64(total*bytes))

	asked := min(total, 200_000, (4<<30)/bytes)
	var shuffled, absent, half []cid.Cid
	for i := range uint64(asked) {
		shuffled = append(shuffled, cids[i*0x9e37_79b9_7f4a_7c15%uint64(total)])
	}
	for i := range uint64(100_000) {
		absent = append(absent, block(1<<63-1+i, 8).Cid())
	}
	for i := 0; i < total; i += 2 {
		half = append(half, cids[i])
	}
	took = timed(shuffled, 256, func(some []cid.Cid) { expect(count(some, s.get), len(some)) })
	rate("get, by 256", asked, bytes, took)
	took = timed(absent, 256, func(some []cid.Cid) { expect(count(some, s.has), 0) })
	rate("absent, by 256", len(absent), 0, took)
	start := time.Now()
	expect(s.list(), total)
	rate("list", total, 0, time.Since(start))
	took = timed(half, 1000, s.delete)
	// go-ds-flatfs syncs no delete, whatever it is told.
	rate("delete half, by 1000, and flush", len(half), 0, took)
	// There is nothing to compact: a file that is removed takes no more room.
	fmt.Println("compact | - | -")
	left := (total - len(half)) * bytes
	fmt.Printf("on disk then | %.2f of the data | -\n", float64(onDisk(folder))/float64(left))
	check(s.datastore.Close())
}

func main() {
	var numbers []int
	if len(os.Args) == 6 {
		for _, arg := range os.Args[3:] {
			number, err := strconv.Atoi(arg)
			check(err)
			numbers = append(numbers, number)
		}
	}
	if len(numbers) != 3 || os.Args[1] != "synced" && os.Args[1] != "unsynced" {
		fmt.Fprintln(os.Stderr, "flatfs-peer synced|unsynced FOLDER BYTES COUNT BATCH")
		os.Exit(2)
	}
	folder := os.Args[2]
	compare(open(folder, os.Args[1] == "synced"), folder, numbers[0], numbers[1], numbers[2])
}
