// Two books that do not agree about one thing, and every row it is about.
;(() => {
  const BASE = '/satmachineadmin'
  // What LNbits has and we have not can be found in its wallet only.
  const UNKNOWN_TO_US = ['not_landed', 'unknown_payout', 'half_done']

  satmachine.component('difference', {
    props: {difference: {type: Object, required: true}},
    computed: {
      amount() {
        return this.fmt.sats(this.difference.sats)
      },
      about() {
        return this.difference.about.map(one => ({
          ...one,
          name: this.words('about', one.type),
          short: this.short(one),
          to: this.to(one),
          href: one.type === 'wallet' ? `/wallet/${one.id}` : null
        }))
      }
    },
    methods: {
      short({type, id}) {
        if (type === 'bay') return id.split(':')[1]
        const wallet = this.g.user.wallets.find(own => own.id === id)
        return wallet ? wallet.name : this.fmt.short(id)
      },
      to({type, id, settlement_id, payment_hash}) {
        if (type === 'settlement') return `${BASE}/settlements/${id}`
        if (settlement_id) return `${BASE}/settlements/${settlement_id}`
        if (type === 'client') return `${BASE}/lps/${id}`
        if (type === 'machine') return `${BASE}/machines/${id}`
        if (type === 'bay') return `${BASE}/machines/${id.split(':')[0]}`
        if (type === 'wallet') return null
        if (UNKNOWN_TO_US.includes(this.difference.kind)) return null
        return {
          path: `${BASE}/payments`,
          query: {q: type === 'payment' ? id : payment_hash || id}
        }
      }
    }
  })
})()
