// Invites an LNbits user to be an LP at a machine: the answer is the same whoever
// exists.
satmachine.component('client-form', {
  emits: ['saved'],
  methods: {
    open() {
      const machines = this.store.machines
      this.$refs.action.open({
        title: this.t('lps.enrol'),
        lines: this.t('lps.enrol_text'),
        ok: this.t('lps.enrol'),
        fields: [
          {
            name: 'who',
            label: this.t('lps.who'),
            hint: this.t('lps.who_hint'),
            required: true
          },
          {
            name: 'machine_id',
            type: 'select',
            label: this.t('payments.machine_id'),
            value: machines.length === 1 ? machines[0].id : null,
            options: this.machineOptions(false),
            required: true
          }
        ],
        run: async ({who, machine_id}) => {
          await satmachine.api.post('/clients', {machine_id, username: who})
          return this.t('lps.invited', {name: who})
        }
      })
    }
  }
})
