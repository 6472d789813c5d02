'use strict'
// The classic server (npm hyperspace 3.19), without any network.
//
//   HYPERSPACE_SOCKET=name node classic-server.js STORAGE
//
// Prints `Listening on PATH` when it is ready; SIGTERM closes it.

const { Server } = require('hyperspace')
const NoSwarm = require('./lib/no-swarm')

const storage = process.argv[2]
if (!storage) {
  console.error('usage: node classic-server.js STORAGE')
  process.exit(2)
}

const server = new Server({ storage, noMigrate: true, network: { swarm: new NoSwarm() } })

function stop () {
  server.close().then(() => process.exit(0), fail)
}

function fail (err) {
  console.error(err.stack)
  process.exit(1)
}

process.once('SIGINT', stop)
process.once('SIGTERM', stop)
server.open().then(() => console.log(`Listening on ${server._socketOpts}`), fail)
