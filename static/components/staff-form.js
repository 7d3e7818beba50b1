// Asks somebody in by a link, or gives one who is there another role: open() or
// open(person).
satmachine.component('staff-form', {
  mixins: [satmachine.saving],
  emits: ['saved'],
  data() {
    return {shown: false, one: null, made: null, form: {}}
  },
  computed: {
    title() {
      if (!this.one) return this.t('team.invite')
      const name = this.one.username || this.t('team.unnamed')
      return this.t('team.change_title', {name})
    },
    roles() {
      return ['collector', 'bookkeeper', 'manager'].map(value => ({
        value,
        label: this.words('staff_role', value)
      }))
    }
  },
  methods: {
    open(one = null) {
      this.one = one
      this.made = null
      this.form = {
        name: '',
        role: one?.role || 'collector',
        machine_ids: one?.machine_ids || null
      }
      this.failure = ''
      this.shown = true
    },
    body() {
      const {name, role, machine_ids} = this.form
      // the machines that are named are a collector's
      const body = {
        role,
        machine_ids: role === 'collector' ? machine_ids : null
      }
      return this.one || !name.trim() ? body : {...body, name: name.trim()}
    },
    save() {
      return this.send(async () => {
        const {api} = satmachine
        if (this.one) {
          await api.put(`/staff/${this.one.id}`, this.body())
          this.shown = false
          this.say(this.t('team.saved'))
        } else {
          this.made = await api.post('/staff', this.body())
        }
        this.$emit('saved')
      })
    }
  }
})
