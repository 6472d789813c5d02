'use strict'
// One end of npm hyperbeam 3: stdin is sent, what comes goes to stdout.
//
//   node net/beam-peer.js BOOTSTRAP [PHRASE]
//
// Without a phrase, it makes one up, says it on stderr ("phrase ...", once it can be dialled),
// and waits.

const Hyperbeam = require('hyperbeam')
const DHT = require('hyperdht')

const [bootstrap, phrase] = process.argv.slice(2)
const dht = new DHT({ bootstrap: [bootstrap], host: '127.0.0.1' })
const beam = phrase ? new Hyperbeam(phrase, { dht }) : new Hyperbeam({ dht })

beam.on('remote-address', () => {
  if (!phrase) console.error('phrase ' + beam.key)
})
beam.on('error', (error) => {
  console.error(error.stack)
  process.exit(1)
})
beam.on('end', () => beam.end())
beam.on('close', () => process.exit(0))
process.stdin.pipe(beam).pipe(process.stdout)
