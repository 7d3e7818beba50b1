// What the places of one machine hold, with what is set aside of it.
satmachine.component('cash-places', {
  props: {rows: {type: Array, required: true}},
  methods: {
    name(row) {
      return this.placeName(row.place)
    },
    note({denomination, currency, amount}) {
      if (!denomination && !Number(amount)) return ''
      return denomination
        ? `${this.fmt.number(denomination)} ${currency}`
        : this.t('cash.by_amount')
    },
    notes(row) {
      if (row.notes === null) return this.fmt.NOTHING
      const shown = this.fmt.number(Math.max(0, row.notes))
      if (!row.capacity) return shown
      const n = this.fmt.number(row.capacity)
      return `${shown} ${this.t('cash.of_capacity', {n})}`
    },
    isBelow(row) {
      return Number(row.amount) < 0
    },
    amount(row) {
      return this.fmt.fiat(Math.max(0, Number(row.amount)), row.currency)
    },
    said(row) {
      const parts = []
      if (row.reserved_notes) {
        const n = this.fmt.number(row.reserved_notes)
        parts.push(this.t('cash.reserved', {n}))
      }
      parts.push(
        row.counted_at
          ? this.t('cash.counted', {ago: this.fmt.ago(row.counted_at)})
          : this.t('cash.never_counted')
      )
      return parts.join(' · ')
    }
  }
})
