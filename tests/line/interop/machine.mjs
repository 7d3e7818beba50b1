// A machine in JavaScript: nostr-tools for keys, events, NIP-44 and relays.
//
// Reads {"relay", "service", "requests": [...]} on stdin, sends each request, and
// prints the decrypted replies as one JSON list. Its secret key is its own.
//   node machine.mjs npub    prints its public key and the key, for the next call
import {finalizeEvent, generateSecretKey, getPublicKey} from 'nostr-tools/pure'
import {Relay, useWebSocketImplementation} from 'nostr-tools/relay'
import * as nip19 from 'nostr-tools/nip19'
import * as nip44 from 'nostr-tools/nip44'
import WebSocket from 'ws'

useWebSocketImplementation(WebSocket)

async function readInput() {
  let text = ''
  for await (const part of process.stdin) text += part
  return JSON.parse(text)
}

function sealed(secret, service, text) {
  return nip44.encrypt(text, nip44.getConversationKey(secret, service))
}

async function ask(relay, secret, service, request) {
  const mine = getPublicKey(secret)
  const event = finalizeEvent(
    {
      kind: 21000,
      created_at: Math.floor(Date.now() / 1000),
      tags: [['p', service]],
      content: sealed(secret, service, JSON.stringify(request))
    },
    secret
  )
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('no answer')), 10000)
    const replies = relay.subscribe(
      [{kinds: [21000], authors: [service], '#p': [mine], '#e': [event.id]}],
      {
        onevent(reply) {
          clearTimeout(timer)
          replies.close()
          const key = nip44.getConversationKey(secret, reply.pubkey)
          resolve(JSON.parse(nip44.decrypt(reply.content, key)))
        },
        oneose() {
          relay.publish(event).catch(reject)
        }
      }
    )
  })
}

if (process.argv[2] === 'npub') {
  const secret = generateSecretKey()
  console.log(
    JSON.stringify({
      npub: nip19.npubEncode(getPublicKey(secret)),
      nsec: nip19.nsecEncode(secret)
    })
  )
} else {
  const input = await readInput()
  const secret = nip19.decode(input.nsec).data
  const service = nip19.decode(input.service).data
  const relay = await Relay.connect(input.relay)
  const replies = []
  for (const request of input.requests) {
    replies.push(await ask(relay, secret, service, request))
  }
  for (const {kind, name, content, encrypted} of input.publish || []) {
    const event = {
      kind,
      created_at: Math.floor(Date.now() / 1000),
      tags: [['d', name]],
      content: encrypted ? sealed(secret, service, content) : content
    }
    await relay.publish(finalizeEvent(event, secret))
  }
  console.log(JSON.stringify(replies))
  relay.close()
  process.exit(0)
}
