// A link that invites one person: open() asks at which machine, then shows the link
// and its QR code, once.
satmachine.component('invite-link', {
  mixins: [satmachine.saving],
  emits: ['saved'],
  data() {
    return {shown: false, machine: null, label: '', made: null}
  },
  methods: {
    open() {
      const {machines} = this.store
      this.machine = machines.length === 1 ? machines[0].id : null
      this.label = ''
      this.made = null
      this.failure = ''
      this.shown = true
    },
    required(value) {
      return !!value || this.t('common.required')
    },
    make() {
      return this.send(async () => {
        const label = this.label.trim()
        this.made = await satmachine.api.post(
          `/machines/${this.machine}/invitations`,
          label ? {username: label} : {}
        )
        this.$emit('saved')
      })
    }
  }
})
