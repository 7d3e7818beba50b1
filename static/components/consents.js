// What an operator asks about sales that the reader is owed by: each question
// waits for their yes, and nothing changes before it.
satmachine.component('consents', {
  mixins: [satmachine.autoReload],
  emits: ['answered'],
  data() {
    return {open: []}
  },
  methods: {
    async load(api) {
      const asked = {consent: 'waiting', limit: 20}
      const {data} = await api.get('/lp/payments', asked)
      return () => (this.open = data)
    },
    text(leg) {
      const code = this.currencyOf(leg.machine_id)
      const fiat = amount => this.fmt.fiat(amount, code)
      const {kind, sold_fiat, dispensed_fiat} = leg.consent
      return this.t(`consent.${kind}_text`, {
        sold: fiat(sold_fiat),
        given: fiat(dispensed_fiat),
        sats: this.fmt.sats(leg.amount_sats),
        own: fiat(leg.amount_fiat)
      })
    },
    answer(leg, way) {
      const reason = {
        name: 'reason',
        type: 'long',
        label: this.t('common.reason')
      }
      this.$refs.action.open({
        title: this.t(`consent.${way}_title`),
        lines: this.text(leg),
        ok: this.t(`consent.${way}`),
        danger: way === 'accept',
        fields: way === 'decline' ? [reason] : [],
        run: async ({reason}) => {
          const body = reason ? {reason} : {}
          await satmachine.api.post(`/lp/payments/${leg.id}/${way}`, body)
          return this.t(`consent.${way}_done`)
        }
      })
    },
    closed() {
      this.reload(true)
      this.$emit('answered')
    }
  }
})
