// Enrols an LNbits user as an LP at a machine.
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
          const isId = /^[0-9a-f]{32}$/.test(who)
          const client = await satmachine.api.post('/clients', {
            machine_id,
            [isId ? 'user_id' : 'username']: who
          })
          const name = client.username || who
          return client.has_profile
            ? this.t('lps.enrolled', {name})
            : this.t('lps.enrolled_waiting', {name})
        }
      })
    }
  }
})
