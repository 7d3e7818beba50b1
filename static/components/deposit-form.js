// Records cash that an LP handed over: open(client), or open() to choose one. With
// nobody to choose it leads to who can be enrolled.
satmachine.component('deposit-form', {
  emits: ['saved', 'enrol'],
  methods: {
    async open(client = null) {
      const clients = client ? [client] : await this.all()
      if (!clients) return
      const able = clients.filter(one => one.has_profile)
      if (!able.length) return this.nobody()
      const label = one =>
        `${one.username || this.fmt.short(one.id)} · ` +
        this.machineName(one.machine_id)
      const money = {
        name: 'amount',
        type: 'amount',
        label: this.t('deposits.amount'),
        suffix: ({client_id}) =>
          (client || able.find(one => one.id === client_id))?.currency,
        required: true
      }
      this.$refs.action.open({
        title: this.t('deposits.record'),
        lines: this.t('deposits.record_text'),
        ok: this.t('deposits.record'),
        fields: [
          !client && {
            name: 'client_id',
            type: 'select',
            label: this.t('deposits.from'),
            value: able.length === 1 ? able[0].id : null,
            options: able.map(one => ({value: one.id, label: label(one)})),
            required: true
          },
          money,
          {name: 'notes', type: 'long', label: this.t('deposits.notes')}
        ].filter(Boolean),
        once: 'recorded',
        run: async (values, idempotency_key) => {
          const body = {...values, notes: values.notes || null, idempotency_key}
          if (client) body.client_id = client.id
          const deposit = await satmachine.api.post('/deposits', body)
          return this.t('deposits.recorded', {
            amount: this.fmt.fiat(deposit.amount, deposit.currency),
            name: deposit.username || ''
          })
        }
      })
    },
    nobody() {
      this.$refs.action.open({
        title: this.t('deposits.record'),
        lines: this.t('deposits.nobody'),
        also: this.store.machines.length && {
          label: this.t('lps.enrol'),
          run: () => this.$emit('enrol')
        }
      })
    },
    // The super records for any machine.
    async all() {
      try {
        return await satmachine.api.all('/clients', {
          sortby: 'username',
          direction: 'asc',
          ...(this.me.super ? {scope: 'all'} : {})
        })
      } catch (error) {
        this.say(error.message, 'negative')
        return null
      }
    }
  }
})
