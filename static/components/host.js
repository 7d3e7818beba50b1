// What makes LNbits' balances fast: what it costs now, made with consent, put back.
satmachine.component('host', {
  mixins: [satmachine.autoReload, satmachine.saving],
  data() {
    return {host: {}}
  },
  computed: {
    look() {
      if (this.host.applied) return 'good'
      return this.host.reason ? 'warn' : 'calm'
    },
    cost() {
      if (!this.host.balance_ms) return this.t('host.not_measured')
      const {idle, busiest} = this.host.balance_ms
      return this.t('host.cost', {
        idle: this.fmt.number(idle),
        busiest: this.fmt.number(busiest)
      })
    },
    // Statements as they are, then sentences about them.
    statements() {
      return this.host.changes.filter(one => /^[A-Z]{4,} /.test(one))
    },
    sentences() {
      return this.host.changes
        .filter(one => !this.statements.includes(one))
        .map(one => this.localize(one))
    },
    // What is half there, or left, can be dropped as well as what is whole.
    undoable() {
      const isLeft = this.host.reason && this.host.changes.length
      return this.host.applied || isLeft
    }
  },
  methods: {
    async load(api) {
      const host = await api.get('/super/host')
      return () => (this.host = host)
    },
    measure() {
      return this.send(async () => {
        this.host = await satmachine.api.post('/super/host/measure')
        this.say(this.t('host.measured'))
      })
    },
    apply() {
      this.ask('apply', '/super/host', this.sentences)
    },
    undo() {
      this.ask('undo', '/super/host/undo', [])
    },
    ask(name, path, lines) {
      this.$refs.action.open({
        title: this.t(`host.${name}_title`),
        lines: [
          this.t(`host.${name}_text`),
          ...lines,
          ...(name === 'apply' ? [this.t('host.before_upgrade')] : [])
        ],
        ok: this.t(`host.${name}`),
        run: async () => {
          this.host = await satmachine.api.post(path)
          return this.t(`host.${name}_done`)
        }
      })
    }
  }
})
