// What go-ipld-git makes of git objects: their values, their links, and how long it takes.
//
//	git-peer decode < DUMP      a line of JSON for each object
//	git-peer time TIMES DUMP    nanoseconds for an object of each type, and a checksum of what was read
//
// A dump is what git cat-file --batch prints: "ID TYPE SIZE", a line feed, the content, a line feed.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	ipldgit "github.com/ipfs/go-ipld-git"
	"github.com/ipld/go-ipld-prime"
	"github.com/ipld/go-ipld-prime/codec/dagjson"
	"github.com/ipld/go-ipld-prime/datamodel"
	cidlink "github.com/ipld/go-ipld-prime/linking/cid"
	"github.com/ipld/go-ipld-prime/traversal"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// An object of a dump, as git hashes it.
type object struct {
	id, kind string
	bytes    []byte
}

func read(r io.Reader) (objects []object) {
	in := bufio.NewReaderSize(r, 1<<20)
	for {
		var o object
		var size int
		if _, err := fmt.Fscanf(in, "%s %s %d\n", &o.id, &o.kind, &size); err == io.EOF {
			return objects
		} else {
			check(err)
		}
		header := fmt.Sprintf("%s %d\x00", o.kind, size)
		o.bytes = make([]byte, len(header)+size)
		copy(o.bytes, header)
		_, err := io.ReadFull(in, o.bytes[len(header):])
		check(err)
		_, err = in.ReadByte()
		check(err)
		objects = append(objects, o)
	}
}

// It prints to the terminal what it does not know.
func quietly(work func()) {
	out := os.Stdout
	os.Stdout, _ = os.Open(os.DevNull)
	defer func() { os.Stdout = out }()
	work()
}

type line struct {
	Id    string          `json:"id"`
	Node  json.RawMessage `json:"node,omitempty"`
	Links []string        `json:"links,omitempty"`
	Same  bool            `json:"same"`
	Error string          `json:"error,omitempty"`
}

func describe(o object) (out line) {
	out.Id = o.id
	defer func() {
		if e := recover(); e != nil {
			out.Error = fmt.Sprint("panic: ", e)
		}
	}()
	node, err := ipldgit.ParseObjectFromBuffer(o.bytes)
	if err != nil {
		out.Error = err.Error()
		return
	}
	links, err := traversal.SelectLinks(node)
	check(err)
	for _, link := range links {
		out.Links = append(out.Links, link.String())
	}
	// Blobs are the larger part, and their value is their bytes.
	if o.kind != "blob" {
		var value bytes.Buffer
		check(dagjson.Encode(node, &value))
		out.Node = value.Bytes()
	}
	var again bytes.Buffer
	out.Same = ipldgit.Encode(node, &again) == nil && bytes.Equal(again.Bytes(), o.bytes)
	return
}

func decode() {
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	encoder := json.NewEncoder(out)
	for _, o := range read(os.Stdin) {
		var described line
		quietly(func() { described = describe(o) })
		check(encoder.Encode(described))
	}
}

// A checksum of fields: of each its length and its last byte.
type sum uint64

func (s *sum) text(text string) {
	last := byte(0)
	if len(text) > 0 {
		last = text[len(text)-1]
	}
	*s = (*s*31+sum(len(text)))*31 + sum(last)
}

func (s *sum) link(link datamodel.Link) { s.text(link.(cidlink.Link).Cid.KeyString()) }

func (s *sum) person(p ipldgit.PersonInfo) {
	s.text(p.FieldName().String())
	s.text(p.FieldEmail().String())
	s.text(p.FieldDate().String())
	s.text(p.FieldTimezone().String())
}

func (s *sum) commit(c ipldgit.Commit) {
	s.link(c.FieldTree().Link())
	for it := c.FieldParents().Iterator(); !it.Done(); {
		_, parent := it.Next()
		s.link(parent.Link())
	}
	if c.FieldAuthor().Exists() {
		s.person(c.FieldAuthor().Must())
	}
	if c.FieldCommitter().Exists() {
		s.person(c.FieldCommitter().Must())
	}
	if c.FieldEncoding().Exists() {
		s.text(c.FieldEncoding().Must().String())
	}
	s.text(c.FieldMessage().String())
}

// What both sides cut in other ways: it is read, and not compared.
func (s *sum) rest(c ipldgit.Commit) {
	if c.FieldSignature().Exists() {
		s.text(c.FieldSignature().Must().String())
	}
	for it := c.FieldMergetag().Iterator(); !it.Done(); {
		_, tag := it.Next()
		s.tag(tag)
	}
	for it := c.FieldOther().Iterator(); !it.Done(); {
		_, other := it.Next()
		s.text(other.String())
	}
}

func (s *sum) tag(t ipldgit.Tag) {
	s.link(t.FieldObject().Link())
	s.text(t.FieldType().String())
	s.text(t.FieldTag().String())
	s.person(t.FieldTagger())
	s.text(t.FieldMessage().String())
}

func (s *sum) tree(t ipldgit.Tree) {
	for it := t.Iterator(); !it.Done(); {
		name, entry := it.Next()
		s.text(name.String())
		s.text(entry.FieldMode().String())
		s.link(entry.FieldHash().Link())
	}
}

func (s *sum) node(node ipld.Node, rest *sum) {
	switch node := node.(type) {
	case ipldgit.Commit:
		s.commit(node)
		rest.rest(node)
	case ipldgit.Tag:
		s.tag(node)
	case ipldgit.Tree:
		s.tree(node)
	case ipldgit.Blob:
		blob := node.Bytes()
		*s = (*s*31+sum(len(blob)))*31 + sum(blob[len(blob)-1])
	default:
		panic(fmt.Sprintf("%T", node))
	}
}

func timed(kind, what string, times int, objects []object, work func(s *sum, o object)) {
	var s sum
	start := time.Now()
	for range times {
		s = 0
		for _, o := range objects {
			work(&s, o)
		}
	}
	each := float64(time.Since(start).Nanoseconds()) / float64(times*len(objects))
	fmt.Printf("%s %s %.1f %d %d\n", kind, what, each, len(objects), uint64(s))
}

func times(count int, objects []object) {
	var rest sum
	for _, kind := range []string{"commit", "tree", "tag", "blob"} {
		var these []object
		for _, o := range objects {
			if o.kind == kind {
				these = append(these, o)
			}
		}
		if len(these) == 0 {
			continue
		}
		timed(kind, "decode", count, these, func(s *sum, o object) {
			node, err := ipldgit.ParseObjectFromBuffer(o.bytes)
			check(err)
			s.node(node, &rest)
		})
		timed(kind, "links", count, these, func(s *sum, o object) {
			node, err := ipldgit.ParseObjectFromBuffer(o.bytes)
			check(err)
			links, err := traversal.SelectLinks(node)
			check(err)
			for _, link := range links {
				s.link(link)
			}
		})
		timed(kind, "again", count, these, func(s *sum, o object) {
			node, err := ipldgit.ParseObjectFromBuffer(o.bytes)
			check(err)
			var again bytes.Buffer
			check(ipldgit.Encode(node, &again))
			*s = *s*31 + sum(again.Len())
		})
	}
}

func main() {
	switch {
	case len(os.Args) == 2 && os.Args[1] == "decode":
		decode()
	case len(os.Args) == 4 && os.Args[1] == "time":
		count, err := strconv.Atoi(os.Args[2])
		check(err)
		file, err := os.Open(os.Args[3])
		check(err)
		times(count, read(file))
	default:
		fmt.Fprintln(os.Stderr, "git-peer decode | time TIMES DUMP")
		os.Exit(2)
	}
}
