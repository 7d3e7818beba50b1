satmachine.component('screen-report', {
  mixins: [satmachine.autoReload],
  props: {id: String},
  data() {
    return {one: null, machine: null, most: 50}
  },
  computed: {
    title() {
      return this.t('books.report_of', {
        machine: this.machineName(this.one.machine_id)
      })
    },
    shown() {
      return this.one.differences.slice(0, this.most)
    },
    // Bays that the machine did not count: their cash was compared with nothing.
    uncounted() {
      return this.one.bays
        .filter(({reported}) => reported === null)
        .map(({position}) => position)
        .join(', ')
    },
    currency() {
      return this.currencyOf(this.one.machine_id)
    },
    checked() {
      const {checked} = this.one
      const kinds = ['settlements', 'legs', 'payouts', 'stamped_payments']
      return kinds.map(kind => ({
        label: this.t(`books.checked_${kind}`),
        value: this.fmt.number(checked[kind] ?? 0)
      }))
    },
    // The balance of a wallet, and the parts that add up to it.
    wallets() {
      const parts = [
        'balance',
        'own',
        'unpaid',
        'unplanned',
        'foreign',
        'difference'
      ]
      return this.one.wallets.map(wallet => {
        const own = this.g.user.wallets.find(({id}) => id === wallet.wallet_id)
        return {
          id: wallet.wallet_id,
          name: own ? own.name : this.fmt.short(wallet.wallet_id),
          parts: parts.map(part => ({
            part,
            name: this.t(`books.wallet_${part}`),
            sats: this.fmt.sats(wallet[`${part}_sats`])
          }))
        }
      })
    }
  },
  methods: {
    async load(api) {
      const one = await api.get(`/reconciliations/${this.id}`)
      const machine = await api.get(`/machines/${one.machine_id}`)
      return () => Object.assign(this, {one, machine})
    },
    bayText({reported, is_exact}) {
      if (reported === null) return this.t('books.not_counted')
      const text = this.fmt.number(reported)
      return is_exact ? text : this.t('books.inexact', {n: text})
    }
  }
})
