// What came of a reconciliation, in a chip: all agrees, or how much does not.
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
    look() {
      if (this.stops) return 'bad'
      return this.count ? 'warn' : 'good'
    },
    text() {
      const key = this.stops ? 'books.stops' : 'books.differences'
      return this.t(key, {n: this.fmt.number(this.count)}, this.count)
    }
  }
})
