'use strict'
// The classic drive service (npm @hyperspace/hyperdrive 1.0 with hyperdrive-fuse),
// against the classic server that listens at HYPERSPACE_SOCKET.
//
//   HYPERSPACE_SOCKET=name node classic-mount.js MNT [KEY]
//
// Prints `Mounted KEY` when it is mounted; SIGTERM unmounts.

const Client = require('@hyperspace/client')
const hyperdrive = require('hyperdrive')
const { HyperdriveFuse } = require('hyperdrive-fuse')

const [mnt, key] = process.argv.slice(2)
if (!mnt) {
  console.error('usage: node classic-mount.js MNT [KEY]')
  process.exit(2)
}

function fail (err) {
  console.error(err.stack)
  process.exit(1)
}

async function main () {
  const client = new Client()
  await client.ready()
  const drive = hyperdrive(client.corestore(), key && Buffer.from(key, 'hex'), { extension: false })
  const fuse = new HyperdriveFuse(drive, mnt)
  await fuse.mount()
  console.log(`Mounted ${drive.key.toString('hex')}`)
  const stop = () => fuse.unmount().then(() => process.exit(0), fail)
  process.once('SIGINT', stop)
  process.once('SIGTERM', stop)
}

main().catch(fail)
