satmachine.component('screen-settlement', {
  mixins: [satmachine.autoReload],
  props: {id: String},
  data() {
    return {one: null, most: 20}
  },
  computed: {
    legs() {
      const order = ['super_fee', 'operator_split', 'dca', 'refund']
      const rank = leg => order.indexOf(leg.leg_type)
      return [...(this.one.legs || [])].sort(
        (a, b) => rank(a) - rank(b) || b.amount_sats - a.amount_sats
      )
    },
    shownLegs() {
      return this.legs.slice(0, this.most)
    },
    readable() {
      return this.one.principal_sats > 0 && this.one.status !== 'quarantined'
    },
    title() {
      const kind = this.words('tx_type', this.one.tx_type)
      if (!Number(this.one.fiat_amount)) return kind
      const fiat = this.fmt.fiat(this.one.fiat_amount, this.one.fiat_code)
      return `${kind} · ${fiat}`
    },
    stamp() {
      return JSON.stringify(this.one.stamp, null, 2)
    },
    marks() {
      return (this.one.marks || []).filter(mark => mark !== 'test')
    },
    // Who gave away what of their own share: [name of the giver, sats].
    forgiven() {
      const {machine_id, operator_discount_sats, platform_discount_sats} =
        this.one
      const isOurs = this.isOwn(machine_id) && !this.acting
      const operator = isOurs ? 'you' : 'operator'
      return [
        [operator, operator_discount_sats],
        ['platform', platform_discount_sats]
      ].filter(([, sats]) => sats)
    },
    discount() {
      const code = this.one.discount_code
      if (!code) return ''
      const said = this.forgiven.map(([who, sats]) =>
        this.t(`settlement.forgave_${who}`, {sats: this.fmt.sats(sats)})
      )
      const who = said.join(', ') || this.t('settlement.forgave_nothing')
      return this.t('settlement.discount', {code, who})
    },
    mismatch() {
      const sats = this.one.fee_mismatch_sats
      if (!sats) return ''
      return this.t(sats > 0 ? 'settlement.surplus' : 'settlement.short', {
        sats: this.fmt.sats(Math.abs(sats))
      })
    },
    // What the row itself tells, then what people did, newest first.
    history() {
      const {created_at, processed_at, history} = this.one
      const event = (action, at) =>
        at && {action, actor: 'engine', created_at: at}
      return [
        ...(history || []),
        event('shared_out', processed_at),
        event('landed', created_at)
      ]
        .filter(Boolean)
        .sort((a, b) => (a.created_at < b.created_at ? 1 : -1))
    },
    facts() {
      const one = this.one
      const fact = (key, text, copy) =>
        text &&
        text !== this.fmt.NOTHING && {
          name: this.t(`settlement.${key}`),
          text,
          copy
        }
      const sats = (key, value = one[key]) =>
        fact(`fact_${key}`, value ? this.fmt.sats(value) : '')
      return [
        sats('wire_sats'),
        sats('principal_sats'),
        sats('fee_sats'),
        sats('platform_fee_sats'),
        sats('operator_fee_sats'),
        ...this.forgiven.map(([who, sum]) => sats(`forgiven_${who}`, sum)),
        sats('network_fee_sats'),
        sats('retained_sats'),
        fact(
          'dispensed_fiat',
          one.dispensed_fiat && this.fmt.fiat(one.dispensed_fiat, one.fiat_code)
        ),
        sats('refundable_sats'),
        sats('loss_sats'),
        fact(
          'exchange_rate',
          one.exchange_rate &&
            this.t('settlement.rate', {
              sats: this.fmt.number(one.exchange_rate),
              code: one.fiat_code
            })
        ),
        fact('bitspire_txid', one.bitspire_txid, true),
        fact('payment_hash', one.payment_hash, true)
      ].filter(Boolean)
    }
  },
  methods: {
    receipt() {
      const path = `/settlements/${this.id}/receipt`
      const asked = {lang: this.$i18n.locale, tz: this.store.zone}
      return satmachine.api.page(path, asked)
    },
    async load(api) {
      // The super reads anybody's, with whose it is.
      const base = this.me.super ? '/super/settlements' : '/settlements'
      const one = await api.get(`${base}/${this.id}`)
      return () => (this.one = one)
    }
  }
})
