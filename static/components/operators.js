// What became of the platform's share, operator by operator; for the super.
satmachine.component('operators', {
  mixins: [satmachine.autoReload],
  data() {
    return {rows: []}
  },
  computed: {
    sums() {
      return ['paid', 'owed', 'shortfall', 'let_go', 'lost']
    },
    counts() {
      return ['voided', 'test', 'quarantined']
    }
  },
  methods: {
    async load(api) {
      const {data} = await api.get('/super/operators')
      return () => (this.rows = data)
    },
    marked(row) {
      return this.counts
        .filter(name => row[`${name}_count`])
        .map(name => {
          const n = row[`${name}_count`]
          return this.t(`operators.${name}`, {n: this.fmt.number(n)}, n)
        })
        .join(' · ')
    },
    holds({machines, lps}) {
      return this.t('platform.counts', {
        machines: this.fmt.number(machines),
        lps: this.fmt.number(lps)
      })
    }
  }
})
