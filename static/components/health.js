// Is the engine alive, is the line up, is anything stuck.
satmachine.part('health', {
  mixins: [satmachine.loads],
  data() {
    return {health: {}}
  },
  computed: {
    facts() {
      return Object.entries(this.health).flatMap(([key, value]) =>
        this.read(key, value)
      )
    }
  },
  methods: {
    async load(api) {
      const health = await api.get('/health')
      return () => (this.health = health)
    },
    read(key, value, prefix = '') {
      const name = prefix + this.words('health', key)
      if (value === null || value === undefined) {
        return [{name, text: this.fmt.NOTHING}]
      }
      if (Array.isArray(value)) {
        if (!value.length) return [{name, text: this.fmt.NOTHING}]
        return value.flatMap(one =>
          typeof one === 'object'
            ? this.relay(name, one)
            : [{name, text: String(one)}]
        )
      }
      if (typeof value === 'object') {
        return Object.entries(value).flatMap(([inner, one]) =>
          this.read(inner, one, `${name}: `)
        )
      }
      return [{name, ...this.show(key, value)}]
    },
    relay(name, {url, connected, last_event_at}) {
      const text = last_event_at
        ? `${url} (${this.fmt.ago(last_event_at)})`
        : url
      return [{name, text, look: connected ? 'good' : 'bad'}]
    },
    show(key, value) {
      if (typeof value === 'boolean') {
        const text = this.t(value ? 'common.yes' : 'common.no')
        return {text, look: value ? 'good' : 'bad'}
      }
      if (key.endsWith('_at')) return {text: this.fmt.ago(value)}
      if (typeof value === 'number') return {text: this.fmt.number(value)}
      return {text: this.words('health_value', String(value))}
    }
  }
})
