// What became of the platform's share, operator by operator; for the super.
satmachine.component('operators', {
  mixins: [satmachine.autoReload],
  data() {
    return {rows: []}
  },
  computed: {
    sums() {
      return ['share', 'paid', 'owed', 'shortfall', 'let_go', 'lost']
    },
    counts() {
      return ['voided', 'test', 'resolved', 'quarantined']
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
    // What was planned when the share was of the fee, as a sum of its own.
    older(row) {
      const names = ['paid', 'owed', 'let_go', 'lost']
      return names
        .filter(name => row[`older_${name}_sats`])
        .map(name => ({
          name: this.t(`operators.${name}`),
          text: this.fmt.sats(row[`older_${name}_sats`])
        }))
    },
    holds({machines, lps}) {
      return this.t('platform.counts', {
        machines: this.fmt.number(machines),
        lps: this.fmt.number(lps)
      })
    }
  }
})
