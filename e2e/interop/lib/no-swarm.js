'use strict'
// A swarm that never opens a socket: what the classic server gets in place of
// hyperswarm, so that no test and no benchmark sends a packet to anyone.

const { EventEmitter } = require('events')

module.exports = class NoSwarm extends EventEmitter {
  constructor () {
    super()
    this.destroyed = false
  }

  join () {}

  leave (_topic, done) {
    if (done) process.nextTick(done, null)
  }

  flush (done) {
    process.nextTick(done, null)
  }

  remoteAddress () {
    return null
  }

  holepunchable () {
    return false
  }

  destroy (done) {
    this.destroyed = true
    if (done) process.nextTick(done, null)
  }
}
