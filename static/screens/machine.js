satmachine.component('screen-machine', {
  needs: [
    'machine-form',
    'fee-fields',
    'pairing',
    'cassettes',
    'machine-cash',
    'telemetry',
    'machine-card',
    'stopped',
    'reconcile',
    'report-row',
    'outcome',
    'machine-books',
    'advice',
    'flow',
    'splits-editor'
  ],
  mixins: [satmachine.autoReload],
  props: {id: String},
  data() {
    return {one: null, gone: false}
  },
  computed: {
    interval() {
      return this.intervalText(this.one.payout_interval_minutes)
    }
  },
  methods: {
    async load(api) {
      const one = await api.get(`/machines/${this.id}`)
      return () => {
        const first = !this.one
        this.one = one
        if (first && this.$route.query.pair && !one.is_paired) {
          this.$refs.pairing.open(one)
        }
      }
    },
    remove() {
      this.$refs.action.open({
        title: this.t('machine.remove_title'),
        lines: this.t('machine.remove_text'),
        ok: this.t('machine.remove'),
        danger: true,
        run: async () => {
          await satmachine.api.delete(`/machines/${this.id}`)
          await satmachine.live.loadMachines()
          await satmachine.live.loadMe()
          this.gone = true
          this.go(this.me.operator ? 'machines' : '')
        }
      })
    }
  }
})
