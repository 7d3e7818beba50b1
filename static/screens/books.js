satmachine.component('screen-books', {
  computed: {
    columns() {
      const col = (name, extra) => ({
        name,
        label: this.t(`books.${name}`),
        sortable: true,
        ...extra
      })
      const time = value => this.fmt.time(value)
      return [
        col('created_at'),
        col('machine_id', {sortable: false}),
        col('difference_count'),
        col('period_from', {format: time}),
        col('period_to', {format: time}),
        col('actor', {sortable: false, format: this.actor})
      ]
    },
    filters() {
      return [
        {
          name: 'machine_id',
          label: this.t('books.machine_id'),
          options: this.machineOptions()
        },
        {
          name: 'stops',
          label: this.t('books.filter_stops'),
          options: ['true', 'false'].map(value => ({
            value,
            label: this.t(value === 'true' ? 'common.yes' : 'common.no')
          }))
        },
        {name: 'created_at', type: 'range'}
      ]
    }
  },
  methods: {
    actor(actor) {
      if (actor === this.me.user_id) return this.t('audit.you')
      return this.words('audit_actor', actor)
    },
    open(row) {
      if (this.isOwn(row.machine_id)) this.go(`books/${row.id}`)
    }
  }
})
