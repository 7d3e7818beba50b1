// Offers to pay the reader's balances out at a low rate: each waits for their yes.
satmachine.component('offers', {
  mixins: [satmachine.autoReload],
  emits: ['answered'],
  data() {
    return {open: []}
  },
  methods: {
    async load(api) {
      const {data} = await api.get('/lp/offers')
      return () => {
        this.open = data.filter(({status}) => status === 'waiting')
      }
    },
    rate(value, currency) {
      return `${this.fmt.number(value, {maximumSignificantDigits: 7})} sat / ${currency}`
    },
    text(one) {
      return this.t('offers.text', {
        fiat: this.fmt.fiat(one.remaining, one.currency),
        sats: this.fmt.sats(one.amount_sats),
        rate: this.rate(one.exchange_rate, one.currency)
      })
    },
    answer(one, way) {
      const reason = {
        name: 'reason',
        type: 'long',
        label: this.t('common.reason')
      }
      this.$refs.action.open({
        title: this.t(`offers.${way}_title`, {machine: one.machine}),
        lines: this.text(one),
        ok: this.t(`offers.${way}`),
        danger: way === 'accept',
        fields: way === 'decline' ? [reason] : [],
        run: async ({reason}) => {
          const body = reason ? {reason} : {}
          await satmachine.api.post(`/lp/offers/${one.id}/${way}`, body)
          return this.t(`offers.${way}_done`)
        }
      })
    },
    closed() {
      this.reload(true)
      this.$emit('answered')
    }
  }
})
