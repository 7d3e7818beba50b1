// Is the engine alive, is the line up, is anything stuck.
satmachine.component('health', {
  mixins: [satmachine.autoReload],
  data() {
    return {health: {}}
  },
  computed: {
    facts() {
      const {listener, sweep, engine, backlog} = this.health
      const fact = (key, text, look) =>
        text && {name: this.t(`health.${key}`), text, look}
      const when = iso => (iso ? this.fmt.ago(iso) : this.t('health.never'))
      const waits = this.health.oldest_unpaid_leg
      return [
        fact(
          'engine',
          engine?.holder
            ? this.t(
                engine.is_this_process ? 'health.here' : 'health.elsewhere'
              )
            : this.t('health.nobody'),
          engine?.holder ? 'good' : 'bad'
        ),
        fact('last_pass', when(engine?.last_pass_at)),
        fact('listener', when(listener?.last_event_at)),
        fact('sweep', when(sweep?.last_at)),
        sweep?.error && fact('sweep_error', this.localize(sweep.error), 'bad'),
        fact('pending', this.fmt.number(backlog?.pending_settlements)),
        fact('unpaid', this.fmt.number(backlog?.unpaid_legs)),
        backlog?.failed_legs > 0 &&
          fact('failed', this.fmt.number(backlog.failed_legs), 'bad'),
        fact('oldest', waits ? when(waits) : this.t('health.nothing_waits')),
        this.health.relays?.problem &&
          fact('warning', this.localize(this.health.relays.problem), 'bad'),
        ...this.relays,
        ...(this.health.warnings || []).map(one =>
          fact('warning', this.localize(one), 'warn')
        )
      ].filter(Boolean)
    },
    // A list of relays, or an object around one, as the line tells it.
    relays() {
      const told = this.health.relays
      const list = Array.isArray(told) ? told : told?.relays || []
      if (!list.length) {
        const text = this.t('health.no_relay')
        return [{name: this.t('health.relay'), text, look: 'warn'}]
      }
      return list.map(relay => this.relay(relay))
    }
  },
  methods: {
    // What a relay says against us is shown as it says it.
    relay({url, connected, listening, last_event_at, problem}) {
      const name = this.t('health.relay')
      if (problem) {
        return {name, text: `${url}: ${this.localize(problem)}`, look: 'bad'}
      }
      const heard = last_event_at ? ` (${this.fmt.ago(last_event_at)})` : ''
      const look = connected && listening !== false ? 'good' : 'warn'
      return {name, text: url + heard, look: connected ? look : 'bad'}
    },
    async load(api) {
      const health = await api.get('/health')
      return () => (this.health = health)
    }
  }
})
