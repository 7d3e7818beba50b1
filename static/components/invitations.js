// What waits for the reader's yes: by name, or behind the code of a link. Nobody is
// an LP before they said so.
satmachine.component('invitations', {
  props: {code: String},
  emits: ['answered'],
  data() {
    return {open: [], busy: false, error: '', told: ''}
  },
  methods: {
    // To provide cash at a machine, or to work for an operator.
    text(one) {
      if (!one.role) {
        return this.t('invitations.text', {machine: one.machine})
      }
      return [
        this.t('team.asked', {role: this.words('staff_role', one.role)}),
        this.t(`team.may_${one.role}`)
      ].join(' ')
    },
    outcome(one, way) {
      if (!one.role) {
        return this.t(`invitations.${way}_done`, {machine: one.machine})
      }
      const name = one.operator_name || '…'
      return this.t(`team.${way}_done`, {name})
    },
    async load() {
      const {api} = satmachine
      try {
        if (this.code) {
          this.open = [await api.get(`/invitations/${this.code}`)]
        } else {
          const {data} = await api.get('/lp/enrolments')
          this.open = data.filter(({status}) => status === 'invited')
        }
      } catch (error) {
        this.error = error.message
      }
    },
    async answer(one, way) {
      const path = this.code
        ? `/invitations/${this.code}`
        : `/lp/enrolments/${one.id}`
      this.busy = true
      this.error = ''
      try {
        await satmachine.api.post(`${path}/${way}`)
        this.told = this.outcome(one, way)
        this.open = this.open.filter(({id}) => id !== one.id)
        this.$emit('answered', way, one)
      } catch (error) {
        this.error = error.message
      } finally {
        this.busy = false
      }
    }
  },
  created() {
    this.load()
  }
})
