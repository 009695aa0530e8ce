// One job of Helia as a whole process, with the settings that its users get by default: the comparisons, and
// the tests against real peers.
//
//   add memory|FOLDER PATH     prints the CID
//   hash PATH                  the same, into a store that keeps nothing
//   cat FOLDER CID             to the standard output
//   hamt COUNT                 a directory of so many names in memory, and lookups in it, each from its root:
//                              lines of what, and its seconds, then the root
//   node [URL]                 a node alone with its peers, its blocks in memory. It listens on a TCP port of
//                              127.0.0.1 and prints its address. Its routing is the endpoint at the URL, if any.
//                              Then each line of its standard input is a command, and gets one line of answer,
//                              which begins with "error" if it failed:
//                                add PATH           the CID of a file
//                                connect MULTIADDR  "connected"
//                                get CID PATH       fetches a file and writes it there: its bytes
//                                value KEY          what the routing has under a key, both in hexadecimal
//                                put KEY VALUE      has the routing keep it: "kept"

import { createReadStream, createWriteStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { createInterface } from 'node:readline'
import { pipeline } from 'node:stream/promises'
import { withBitswap } from '@helia/bitswap'
import { delegatedHTTPRouter, delegatedHTTPRoutingDefaults } from '@helia/delegated-routing-client'
import { libp2pDefaults, withLibp2p } from '@helia/libp2p'
import { unixfs, globSource } from '@helia/unixfs'
import { multiaddr } from '@multiformats/multiaddr'
import { BlackHoleBlockstore, MemoryBlockstore } from 'blockstore-core'
import { FsBlockstore } from 'blockstore-fs'
import { createHelia, createHeliaLight } from 'helia'
import { CID } from 'multiformats/cid'

// The profile that ours has by default: the same blocks on all sides.
const options = { profile: 'unixfs-v1-2025' }

// A fetch that takes longer has failed.
const patience = 60_000

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

async function start (url) {
  const { services: { identify } } = libp2pDefaults()
  const network = {
    addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
    peerDiscovery: [],
    services: { identify }
  }
  const helia = withBitswap(withLibp2p(createHeliaLight(), network))
  if (url != null) {
    helia.addRouter(delegatedHTTPRouter(delegatedHTTPRoutingDefaults({ url })))
  }
  return helia.start()
}

async function run (helia, files, [command, ...rest]) {
  const signal = AbortSignal.timeout(patience)
  switch (command) {
    case 'add': return files.addByteStream(createReadStream(rest[0]), options)
    case 'connect':
      await helia.libp2p.dial(multiaddr(rest[0]), { signal })
      return 'connected'
    case 'get': {
      const out = createWriteStream(rest[1])
      await pipeline(files.cat(CID.parse(rest[0]), { signal }), out)
      return out.bytesWritten
    }
    case 'value': {
      const value = await helia.routing.get(Buffer.from(rest[0], 'hex'), { signal })
      return Buffer.from(value).toString('hex')
    }
    case 'put':
      await helia.routing.put(Buffer.from(rest[0], 'hex'), Buffer.from(rest[1], 'hex'), { signal })
      return 'kept'
    default: throw new Error('add PATH | connect MULTIADDR | get CID PATH | value KEY | put KEY VALUE')
  }
}

async function node (url) {
  const helia = await start(url)
  const files = unixfs(helia)
  console.info(helia.libp2p.getMultiaddrs()[0].toString())
  for await (const line of createInterface({ input: process.stdin })) {
    try {
      console.info(String(await run(helia, files, line.split(' '))))
    } catch (error) {
      // A line, whatever it says.
      console.info(`error ${error}`.replaceAll(/\s+/g, ' '))
    }
  }
}

const [job, ...rest] = process.argv.slice(2)
switch (job) {
  case 'add': await add(rest[0], rest[1]); break
  case 'hash': await add('nothing', rest[0]); break
  case 'cat': await cat(rest[0], rest[1]); break
  case 'hamt': await hamt(Number(rest[0])); break
  case 'node': await node(rest[0]); break
  default: throw new Error('add memory|FOLDER PATH | hash PATH | cat FOLDER CID | hamt COUNT | node [URL]')
}
// What it holds open for peers that it never had is not to be waited for.
process.exit(0)
