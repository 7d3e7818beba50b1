// The operator's people: whom they asked in, as what, and when they were here.
satmachine.component('screen-team', {
  mixins: [satmachine.autoReload],
  data() {
    return {people: []}
  },
  computed: {
    limitText() {
      const {refundLimit} = this.store
      return refundLimit === null
        ? this.t('team.no_limit')
        : this.fmt.sats(refundLimit)
    }
  },
  methods: {
    async load(api) {
      const {data} = await api.get('/staff')
      return () => (this.people = data)
    },
    name({username}) {
      return username || this.t('team.unnamed')
    },
    where({role, machine_ids}) {
      if (role !== 'collector') return ''
      if (!machine_ids) return this.t('team.all_machines')
      return machine_ids.map(this.machineName).join(', ')
    },
    when(one) {
      if (one.status === 'invited') {
        return this.t('team.until', {time: this.fmt.time(one.expires_at)})
      }
      return one.last_seen_at
        ? this.t('team.seen', {ago: this.fmt.ago(one.last_seen_at)})
        : this.t('team.never_seen')
    },
    remove(one) {
      const said = {name: this.name(one)}
      const way = one.status === 'invited' ? 'withdraw' : 'remove'
      this.$refs.action.open({
        title: this.t(`team.${way}_title`, said),
        lines: this.t(`team.${way}_text`, said),
        ok: this.t(`team.${way}`),
        danger: true,
        run: async () => {
          await satmachine.api.delete(`/staff/${one.id}`)
          return this.t(`team.${way}_done`, said)
        }
      })
    },
    limit() {
      const {refundLimit} = this.store
      this.$refs.action.open({
        title: this.t('team.limit_title'),
        lines: this.t('team.limit_text'),
        ok: this.t('common.save'),
        fields: [
          {
            name: 'sats',
            type: 'sats',
            label: this.t('team.limit'),
            hint: this.t('discounts.no_limit'),
            suffix: 'sat',
            value: refundLimit === null ? '' : String(refundLimit)
          }
        ],
        run: async ({sats}) => {
          const body = {staff_refund_limit_sats: sats}
          await satmachine.api.put('/preferences', body)
          this.store.refundLimit = sats
        }
      })
    }
  }
})
