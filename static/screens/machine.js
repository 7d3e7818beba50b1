satmachine.component('screen-machine', {
  mixins: [satmachine.autoReload],
  props: {id: String},
  data() {
    return {one: null}
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
        run: () =>
          satmachine.live.ending(async () => {
            await satmachine.api.delete(`/machines/${this.id}`)
            await satmachine.live.loadMachines()
            await satmachine.live.loadMe()
            await this.go(this.me.operator ? 'machines' : '')
          })
      })
    }
  }
})
