// Entries of the audit log, in words: what, why, who, when, before and after.
satmachine.part('history', {
  props: {entries: {type: Array, default: () => []}},
  methods: {
    actor({actor}) {
      if (actor === this.me.user_id || actor === 'you') {
        return this.t('audit.you')
      }
      return this.words('audit_actor', actor)
    },
    changes({before, after}) {
      const old = before || {}
      const now = after || {}
      return [...new Set([...Object.keys(old), ...Object.keys(now)])]
        .filter(key => JSON.stringify(old[key]) !== JSON.stringify(now[key]))
        .map(key => {
          const name = this.words('field', key)
          const was = this.value(key, old[key])
          const is = this.value(key, now[key])
          return key in old ? `${name}: ${was} → ${is}` : `${name}: ${is}`
        })
    },
    value(key, value) {
      if (value === null || value === undefined || value === '') {
        return this.fmt.NOTHING
      }
      if (typeof value === 'boolean') {
        return this.t(value ? 'common.yes' : 'common.no')
      }
      if (key.endsWith('_fraction')) return this.fmt.percent(value)
      if (key.endsWith('_sats')) return this.fmt.sats(value)
      if (key.endsWith('_at')) return this.fmt.time(value)
      if (typeof value === 'object') return JSON.stringify(value)
      if (key === 'status') {
        const groups = [
          'settlement_status',
          'leg_status',
          'deposit_status',
          'client_status'
        ]
        const group = groups.find(one => this.$te(`satmachine.${one}.${value}`))
        if (group) return this.words(group, value)
      }
      return String(value)
    }
  }
})
