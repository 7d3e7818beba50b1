// A machine in JavaScript: nostr-tools for keys, events, NIP-44 and relays.
//
// The same calls as dev/nostr_machine.py, to be read beside docs/machines.md. It knows
// its own secret key, the service's npub and some relays, and nothing of LNbits.
//
//   node machine.mjs new        prints a new machine's npub and nsec
//   node machine.mjs            one JSON object a line on stdin: first
//                               {"nsec", "service", "relays", "fiat_code"}, then commands:
//     {"do": "ask", "rpc", "body", "id"}               one request, whatever the answer
//     {"do": "cash_out", "bills", "rate", "dispensed"} from quote to dispense
//     {"do": "cash_in", "bills", "rate"}               from quote to payout
//     {"do": "publish", "kind", "name", "content", "encrypted"}
//   It prints {"show": bolt11} for the customer to pay, {"wants_invoice": sats} and then
//   reads {"bolt11"}, and when a command is over {"done": ...} or {"refused": code}.
import {createInterface} from 'node:readline'
import {finalizeEvent, generateSecretKey, getPublicKey} from 'nostr-tools/pure'
import {Relay, useWebSocketImplementation} from 'nostr-tools/relay'
import * as nip19 from 'nostr-tools/nip19'
import * as nip44 from 'nostr-tools/nip44'
import WebSocket from 'ws'

useWebSocketImplementation(WebSocket)

const ANSWER_MS = 3000
const AGAIN_MS = 300
const PATIENCE_MS = 60000
const MOST_INVOICES = 3

// What each ERROR asks of a machine: the table of docs/machines.md.
const WHAT_TO_DO = {
  not_paired: 'tell somebody',
  bad_code: 'tell somebody',
  undecryptable: 'mend it',
  too_long: 'mend it',
  bad_request: 'mend it',
  unknown_rpc: 'mend it',
  stale: 'set the clock',
  inactive: 'no trade',
  stopped: 'no trade',
  conflict: 'a new txid',
  expired: 'a new txid',
  not_paid: 'keep the report',
  unknown_payment: 'set it aside',
  mismatch: 'set it aside',
  not_a_settlement: 'set it aside',
  cash_short: 'less',
  wallet_short: 'later',
  limit: 'later',
  bad_invoice: 'another invoice',
  wrong_amount: 'another invoice',
  refused: 'later',
  busy: 'repeat',
  server_error: 'repeat'
}
const HOPELESS = ['mend it', 'a new txid', 'set it aside']

const sleep = ms => new Promise(resolve => setTimeout(resolve, ms))

class Refused extends Error {
  constructor(rpc, answer) {
    super(`${rpc}: ${answer.code}: ${answer.reason}`)
    this.answer = answer
    // a code that is newer than this machine stops the trade
    this.whatToDo = WHAT_TO_DO[answer.code] || 'no trade'
  }
}

class Machine {
  constructor({nsec, service, relays, fiat_code}) {
    this.secret = nip19.decode(nsec).data
    this.hex = getPublicKey(this.secret)
    this.service = nip19.decode(service).data
    this.relays = relays.map(url => new Relay(url))
    this.fiatCode = fiat_code
    this.clockAhead = 0
    this.counter = 0
    this.outbox = [] // a real machine keeps it on disk
    this.aside = []
  }

  // the line ------------------------------------------------------------------------

  async connected() {
    await Promise.allSettled(
      this.relays.filter(relay => !relay.connected).map(relay => relay.connect())
    )
    return this.relays.filter(relay => relay.connected)
  }

  close() {
    this.relays.forEach(relay => relay.close())
  }

  sealed(text) {
    const key = nip44.getConversationKey(this.secret, this.service)
    return nip44.encrypt(text, key)
  }

  signed(kind, content, tags) {
    const created_at = Math.floor(Date.now() / 1000) + this.clockAhead
    return finalizeEvent({kind, created_at, tags, content}, this.secret)
  }

  // One event to every relay; its answer, or null if none came in time.
  async once(message) {
    const content = this.sealed(JSON.stringify(message))
    const event = this.signed(21000, content, [['p', this.service]])
    const wanted = {kinds: [21000], authors: [this.service], '#p': [this.hex], '#e': [event.id]}
    const relays = await this.connected()
    const asked = []
    const heard = new Promise(resolve => {
      for (const relay of relays) {
        const onevent = reply => {
          const key = nip44.getConversationKey(this.secret, reply.pubkey)
          resolve(JSON.parse(nip44.decrypt(reply.content, key)))
        }
        // sent when the relay listens for the answer, and once
        const oneose = () => relay.publish(event).catch(() => {})
        asked.push(relay.subscribe([wanted], {onevent, oneose}))
      }
    })
    const answer = await Promise.race([heard, sleep(ANSWER_MS).then(() => null)])
    asked.forEach(subscription => subscription.close())
    return answer
  }

  // Asks again, newly signed each time, until somebody answers.
  async insist(message) {
    const until = Date.now() + PATIENCE_MS
    for (;;) {
      const answer = await this.once(message)
      if (answer) return answer
      if (Date.now() > until) throw new Error('no answer')
      await sleep(AGAIN_MS)
    }
  }

  // Does by itself what an ERROR asks of the machine alone; throws Refused for the rest.
  async ask(rpcName, body) {
    const until = Date.now() + PATIENCE_MS
    let wasSet = false
    for (;;) {
      this.counter += 1
      const requestId = `${this.hex.slice(0, 6)}-${this.counter}`
      const answer = await this.insist({rpcName, requestId, body})
      if (answer.service_npub) this.service = nip19.decode(answer.service_npub).data
      if (answer.status === 'OK') return answer
      const refused = new Refused(rpcName, answer)
      if (refused.whatToDo === 'set the clock' && !wasSet) {
        this.clockAhead = answer.server_time - Math.floor(Date.now() / 1000)
        wasSet = true
      } else if (refused.whatToDo === 'repeat' && Date.now() < until) {
        await sleep(AGAIN_MS)
      } else {
        throw refused
      }
    }
  }

  // the outbox ----------------------------------------------------------------------

  // Reports until each has an OK; what can never be taken is set aside for a person.
  async drain() {
    for (const report of [...this.outbox]) {
      try {
        await this.ask(report.rpc, report.body)
      } catch (refused) {
        if (!(refused instanceof Refused)) throw refused
        if (!HOPELESS.includes(refused.whatToDo)) continue
        this.aside.push({...report, answer: refused.answer})
      }
      this.outbox.splice(this.outbox.indexOf(report), 1)
    }
  }

  // trades --------------------------------------------------------------------------

  async terms(tx_type, bills, rate) {
    const fiat = Object.entries(bills).reduce((sum, [bill, n]) => sum + bill * n, 0)
    const fiat_amount = `${fiat}.00`
    // with the amount: a trade outside the limits is refused before notes move
    const asked = {tx_type, fiat_code: this.fiatCode, fiat_amount}
    const quote = await this.ask('quote', asked)
    const principal = Math.round(fiat * rate)
    // fractions have four places: whole numbers, rounded half up
    const share = fraction =>
      Math.floor((principal * Math.round(fraction * 10000) + 5000) / 10000)
    // a fixed fee in fiat is sats at the rate of this trade
    const fixedCents = Math.round(quote.operator_fixed_fee * 100)
    const fixed = Math.floor((2 * fixedCents * principal + fiat * 100) / (fiat * 200))
    const fractions = [quote.platform_fee_fraction, quote.operator_fee_fraction]
    const fee = fractions.map(share).reduce((sum, sats) => sum + sats, fixed)
    if (tx_type === 'cash_in' && principal - fee > quote.max_cash_in_sats) {
      const reason = `at most ${quote.max_cash_in_sats} sat now`
      throw new Refused('quote', {code: 'wallet_short', reason})
    }
    this.counter += 1
    return {
      txid: `${this.hex.slice(0, 6)}-${this.counter}`,
      principal_sats: principal,
      fee_sats: fee,
      fiat_amount,
      fiat_code: this.fiatCode,
      bills
    }
  }

  // Sells cash. Nothing comes out of the slot before the service has the payment.
  async cashOut({bills, rate, dispensed}, customer) {
    const body = await this.terms('cash_out', bills, rate)
    const invoice = await this.ask('invoice', body)
    customer.show(invoice.bolt11)
    const {payment_hash} = invoice
    this.outbox.push({rpc: 'settlement', body: {tx_type: 'cash_out', payment_hash, ...body}})
    const until = Date.now() + PATIENCE_MS
    while (this.outbox.length && Date.now() < until) {
      await this.drain() // `not_paid` stays in the outbox
      if (this.outbox.length) await sleep(AGAIN_MS)
    }
    if (this.outbox.length || this.aside.length) throw new Error('not paid')
    const out = dispensed === undefined ? body.fiat_amount : `${dispensed}.00`
    this.outbox.push({rpc: 'dispense', body: {payment_hash, dispensed_fiat: out}})
    await this.drain()
    return {txid: body.txid, payment_hash, dispensed: out}
  }

  // Buys cash. After an ERROR nothing was paid and nothing will be: the bills go back.
  async cashIn({bills, rate}, customer) {
    const body = await this.terms('cash_in', bills, rate)
    for (let left = MOST_INVOICES - 1; ; left -= 1) {
      const bolt11 = await customer.invoice(body.principal_sats - body.fee_sats)
      let answer
      try {
        // `pending` is no reason to hand anything back
        do {
          if (answer) await sleep(AGAIN_MS)
          answer = await this.ask('payout', {...body, bolt11})
        } while (answer.payment_status === 'pending')
      } catch (refused) {
        if (refused.whatToDo === 'another invoice' && left) continue
        throw refused
      }
      if (answer.payment_status === 'paid' || !left) {
        return {
          txid: body.txid,
          payment_hash: answer.payment_hash,
          status: answer.payment_status
        }
      }
    }
  }

  // what it publishes ---------------------------------------------------------------

  async publish({kind, name, content, encrypted}) {
    const tags = [
      ['p', this.service],
      ['d', name]
    ]
    const event = this.signed(kind, encrypted ? this.sealed(content) : content, tags)
    for (const relay of await this.connected()) await relay.publish(event)
    return {published: name}
  }
}

function print(message) {
  console.log(JSON.stringify(message))
}

async function run() {
  const lines = createInterface({input: process.stdin})[Symbol.asyncIterator]()
  const next = async () => {
    const {value, done} = await lines.next()
    return done ? null : JSON.parse(value)
  }
  const machine = new Machine(await next())
  const customer = {
    show: bolt11 => print({show: bolt11}),
    invoice: async sats => {
      print({wants_invoice: sats})
      return (await next()).bolt11
    }
  }
  const commands = {
    ask: ({rpc, body, id}) => machine.insist({rpcName: rpc, requestId: id, body}),
    cash_out: command => machine.cashOut(command, customer),
    cash_in: command => machine.cashIn(command, customer),
    publish: command => machine.publish(command)
  }
  for (let command = await next(); command; command = await next()) {
    try {
      print({done: await commands[command.do](command)})
    } catch (refused) {
      if (!(refused instanceof Refused)) throw refused
      print({refused: refused.answer.code, what_to_do: refused.whatToDo})
    }
  }
  machine.close()
}

if (process.argv[2] === 'new') {
  const secret = generateSecretKey()
  print({npub: nip19.npubEncode(getPublicKey(secret)), nsec: nip19.nsecEncode(secret)})
} else {
  await run()
  process.exit(0)
}
