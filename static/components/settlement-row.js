// One settlement in a list, on a phone and in "recent".
satmachine.component('settlement-row', {
  props: {row: {type: Object, required: true}},
  computed: {
    out() {
      return this.row.tx_type !== 'cash_in'
    },
    to() {
      return `/satmachineadmin/settlements/${this.row.id}`
    },
    title() {
      const kind = this.words('tx_type', this.row.tx_type)
      if (!this.row.fiat_amount) return kind
      const fiat = this.fmt.fiat(this.row.fiat_amount, this.row.fiat_code)
      return `${kind} · ${fiat}`
    }
  }
})
