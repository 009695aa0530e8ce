// One job of Helia as a whole process, with the settings that its users get by default.
//
//   add memory|FOLDER PATH     prints the CID
//   hash PATH                  the same, into a store that keeps nothing
//   cat FOLDER CID             to the standard output
//   hamt COUNT                 a directory of so many names in memory, and lookups in it, each from its root:
//                              lines of what, and its seconds, then the root

import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { unixfs, globSource } from '@helia/unixfs'
import { BlackHoleBlockstore, MemoryBlockstore } from 'blockstore-core'
import { FsBlockstore } from 'blockstore-fs'
import { createHelia } from 'helia'
import { CID } from 'multiformats/cid'

// The profile that ours has by default: the same blocks on all sides.
const options = { profile: 'unixfs-v1-2025' }

async function open (store) {
  let blockstore
  switch (store) {
    case 'memory': blockstore = new MemoryBlockstore(); break
    case 'nothing': blockstore = new BlackHoleBlockstore(); break
    default: blockstore = new FsBlockstore(store)
  }
  const helia = await createHelia({ blockstore, start: false })
  // Its files are opened by a start, which would also start a network.
  await blockstore.open?.()
  return { files: unixfs(helia), close: async () => { await blockstore.close?.() } }
}

async function timed (what, work) {
  const start = performance.now()
  await work()
  console.info(`${what} ${((performance.now() - start) / 1000).toFixed(3)}`)
}

async function add (store, path) {
  const node = await open(store)
  const isDirectory = (await stat(path)).isDirectory()
  let cid
  if (isDirectory) {
    const entries = globSource(dirname(path), basename(path) + '/**/*')
    for await (const entry of node.files.addAll(entries, { ...options, wrapWithDirectory: false })) {
      cid = entry.cid
    }
  } else {
    cid = await node.files.addByteStream(createReadStream(path), options)
  }
  console.info(cid.toString())
  await node.close()
}

async function cat (store, cid) {
  const node = await open(store)
  await pipeline(node.files.cat(CID.parse(cid), { offline: true }), process.stdout, { end: false })
  await node.close()
}

async function hamt (count) {
  const node = await open('memory')
  const name = (n) => `entry ${n}`
  async function * entries () {
    for (let n = 0; n < count; n++) {
      yield { path: `root/${name(n)}`, content: new Uint8Array(0) }
    }
  }
  let root
  await timed('build', async () => {
    for await (const entry of node.files.addAll(entries(), { ...options, wrapWithDirectory: false })) {
      root = entry.cid
    }
  })
  await timed('lookup', async () => {
    for (let n = 0; n < Math.min(count, 10000); n++) {
      await node.files.stat(root, { path: name((n * 7919) % count), offline: true })
    }
  })
  console.info(`root ${root}`)
}

const [job, ...rest] = process.argv.slice(2)
switch (job) {
  case 'add': await add(rest[0], rest[1]); break
  case 'hash': await add('nothing', rest[0]); break
  case 'cat': await cat(rest[0], rest[1]); break
  case 'hamt': await hamt(Number(rest[0])); break
  default: throw new Error('add memory|FOLDER PATH | hash PATH | cat FOLDER CID | hamt COUNT')
}
// What it holds open for peers that it never had is not to be waited for.
process.exit(0)
