// One reconciliation in a list: when, of what, and whether the books agree.
satmachine.component('report-row', {
  props: {row: {type: Object, required: true}, named: Boolean},
  computed: {
    to() {
      return `/satmachineadmin/books/${this.row.id}`
    },
    actor() {
      const {actor} = this.row
      if (actor === this.me.user_id) return this.t('audit.you')
      return this.words('audit_actor', actor)
    },
    period() {
      return this.t('books.period', {
        from: this.fmt.time(this.row.period_from),
        to: this.fmt.time(this.row.period_to)
      })
    }
  }
})
