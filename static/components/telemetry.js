// The newest public beacon and the newest private report of a machine.
satmachine.component('telemetry', {
  mixins: [satmachine.autoReload],
  props: {machine: {type: Object, required: true}},
  data() {
    return {answer: {}}
  },
  computed: {
    parts() {
      const part = (key, facts, at) =>
        facts &&
        at && {
          key,
          title: this.t(`telemetry.${key}`),
          age: this.t('telemetry.age', {ago: this.fmt.ago(at)}),
          facts: this.flat(facts)
        }
      const {beacon, telemetry} = this.answer
      return [
        part(
          'report',
          telemetry,
          this.answer.telemetry_received_at || this.answer.telemetry_at
        ),
        part(
          'beacon',
          beacon,
          this.answer.beacon_received_at || this.answer.beacon_at
        )
      ].filter(Boolean)
    }
  },
  methods: {
    async load(api) {
      const answer = await api.get(`/machines/${this.machine.id}/telemetry`)
      return () => (this.answer = answer)
    },
    // A machine sends what it has: nested things become "Bays 1 Count".
    flat(facts, prefix = '') {
      const isList = Array.isArray(facts)
      return Object.entries(facts).flatMap(([key, value]) => {
        if (value === null || value === undefined || this.isEmpty(value)) {
          return []
        }
        const own = isList ? String(Number(key) + 1) : this.words('beacon', key)
        const name = prefix ? `${prefix} ${own}` : own
        return this.isNested(value)
          ? this.flat(value, name)
          : [{name, text: this.text(value)}]
      })
    },
    isEmpty(value) {
      return value === '' || (Array.isArray(value) && !value.length)
    },
    isNested(value) {
      if (Array.isArray(value)) return value.some(this.isNested)
      return typeof value === 'object' && value !== null
    },
    text(value) {
      if (typeof value === 'boolean') {
        return this.t(value ? 'common.yes' : 'common.no')
      }
      if (Array.isArray(value)) return value.map(this.text).join(', ')
      return typeof value === 'number' ? this.fmt.number(value) : String(value)
    }
  }
})
