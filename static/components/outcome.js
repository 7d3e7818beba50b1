// What came of a reconciliation, in a chip: that nothing differs, or how much.
satmachine.component('outcome', {
  props: {report: {type: Object, required: true}},
  computed: {
    count() {
      const {difference_count, differences, more} = this.report
      return difference_count ?? differences.length + more
    },
    stops() {
      const {stops, differences} = this.report
      return stops ?? differences.some(one => one.stops)
    },
    // What nobody counted was compared with nothing, and agrees with nothing.
    unchecked() {
      const {bays} = this.report
      return !!bays && !this.count && bays.some(bay => bay.reported === null)
    },
    look() {
      if (this.stops) return 'bad'
      return this.count || this.unchecked ? 'warn' : 'good'
    },
    text() {
      if (this.unchecked) return this.t('books.cash_unchecked')
      const key = this.stops ? 'books.stops' : 'books.differences'
      return this.t(key, {n: this.fmt.number(this.count)}, this.count)
    }
  }
})
