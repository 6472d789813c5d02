'use strict'
// npm hyperdrive 10 over npm @hyperspace/client, against whatever server listens
// at HYPERSPACE_SOCKET.
//
//   node hyperdrive10.js create                    a new drive; prints {"key"}
//   node hyperdrive10.js write KEY < entries.json  writes the entries; prints the keys of mounts made
//   node hyperdrive10.js remove KEY PATH...        removes files, directories and mounts
//   node hyperdrive10.js describe KEY [VERSION]    prints all entries, sorted by path
//
// An entry is {path, type, mode, uid, gid, xattrs, ...}: a `file` has `content`
// (base64), a `symlink` has `target`, a `mount` has `key` (made if absent) and
// perhaps `version`, a `dir` nothing more. Extended attributes are base64.
// `describe` passes through mounts, but does not name the same drive twice.

const { promisify } = require('node:util')
const { text } = require('node:stream/consumers')
const Client = require('@hyperspace/client')
const hyperdrive = require('hyperdrive')

const PERMISSIONS = 0o7777
const LINK = 0o120000
const DIR = 0o040000
const TYPE = 0o170000

async function open (store, key, version) {
  let drive = hyperdrive(store, key && Buffer.from(key, 'hex'), { extension: false })
  await promisify(drive.ready.bind(drive))()
  if (version) drive = drive.checkout(Number(version))
  return drive
}

function base64 (map) {
  return Object.fromEntries(Object.entries(map).map(([name, value]) => [name, Buffer.from(value).toString('base64')]))
}

function unbase64 (map = {}) {
  return Object.fromEntries(Object.entries(map).map(([name, value]) => [name, Buffer.from(value, 'base64')]))
}


async function write (store, drive, entries) {
  const { promises } = drive
  const mounts = {}
  for (const entry of entries) {
    const attributes = { mode: entry.mode, uid: entry.uid, gid: entry.gid }
    switch (entry.type) {
      case 'dir':
        await promises.mkdir(entry.path, attributes)
        break
      case 'file':
        await promises.writeFile(entry.path, Buffer.from(entry.content, 'base64'), attributes)
        break
      case 'symlink':
        await promises.symlink(entry.target, entry.path)
        break
      case 'mount': {
        // A drive of a namespace of its own: the default core is taken by the root.
        const key = entry.key ?? (await open(store.namespace())).key.toString('hex')
        await promises.mount(entry.path, Buffer.from(key, 'hex'), entry.version ? { version: entry.version } : undefined)
        mounts[entry.path] = key
        break
      }
      default:
        throw new Error(`unknown type: ${entry.type}`)
    }
    for (const [name, value] of Object.entries(unbase64(entry.xattrs))) {
      await promises.setMetadata(entry.path, name, value)
    }
  }
  return { mounts, version: drive.version }
}

async function remove (drive, paths) {
  const { promises } = drive
  for (const path of paths) {
    const stat = await promises.lstat(path)
    if (stat.mount) await promises.unmount(path)
    else if ((stat.mode & TYPE) === DIR) await promises.rmdir(path)
    else await promises.unlink(path)
  }
  return { version: drive.version }
}

async function describe (drive) {
  const entries = []
  const seen = new Set([drive.key.toString('hex')])
  await walk('/')
  return entries.sort((a, b) => a.path < b.path ? -1 : 1)

  async function walk (dir) {
    for (const name of await drive.promises.readdir(dir)) {
      const path = (dir === '/' ? '' : dir) + '/' + name
      const stat = await drive.promises.lstat(path)
      const entry = { path, mode: stat.mode & PERMISSIONS, uid: stat.uid, gid: stat.gid }
      if (stat.metadata && Object.keys(stat.metadata).length) entry.xattrs = base64(stat.metadata)
      if (stat.mount) {
        entry.type = 'mount'
        entry.key = stat.mount.key.toString('hex')
        if (stat.mount.version) entry.version = stat.mount.version
      } else if ((stat.mode & TYPE) === LINK) {
        entry.type = 'symlink'
        entry.target = stat.linkname
      } else if ((stat.mode & TYPE) === DIR) {
        entry.type = 'dir'
      } else {
        entry.type = 'file'
        entry.size = stat.size
        entry.content = (await drive.promises.readFile(path)).toString('base64')
      }
      entries.push(entry)
      if (entry.type === 'dir') await walk(path)
      if (entry.type === 'mount' && !seen.has(entry.key)) {
        seen.add(entry.key)
        await walk(path)
      }
    }
  }
}

async function main ([command, key, ...rest]) {
  const client = new Client()
  await client.ready()
  const store = client.corestore()
  let result
  switch (command) {
    case 'create': {
      const drive = await open(store)
      result = { key: drive.key.toString('hex') }
      break
    }
    case 'write':
      result = await write(store, await open(store, key), JSON.parse(await text(process.stdin)))
      break
    case 'remove':
      result = await remove(await open(store, key), rest)
      break
    case 'describe':
      result = await describe(await open(store, key, rest[0]))
      break
    default:
      throw new Error('usage: hyperdrive10.js create | write KEY | remove KEY PATH... | describe KEY [VERSION]')
  }
  // A pipe takes it in pieces: the process must not end before the last.
  await new Promise(resolve => process.stdout.write(JSON.stringify(result) + '\n', resolve))
  client.close()
}

main(process.argv.slice(2)).then(() => process.exit(0), err => {
  console.error(err.stack)
  process.exit(1)
})
