// Records cash that an LP handed over: open(client), or open() to choose one.
satmachine.part('deposit-form', {
  emits: ['saved'],
  methods: {
    async open(client = null) {
      const clients = client ? [client] : await this.all()
      const able = clients.filter(one => one.has_profile)
      const label = one =>
        `${one.username || this.fmt.short(one.id)} · ` +
        this.machineName(one.machine_id)
      const money = {
        name: 'amount',
        type: 'amount',
        label: this.t('deposits.amount'),
        suffix: client?.currency,
        required: true
      }
      this.$refs.action.open({
        title: this.t('deposits.record'),
        lines: able.length
          ? this.t('deposits.record_text')
          : this.t('deposits.nobody'),
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
        run: async values => {
          const body = {...values, notes: values.notes || null}
          if (client) body.client_id = client.id
          const deposit = await satmachine.api.post('/deposits', body)
          return this.t('deposits.recorded', {
            amount: this.fmt.fiat(deposit.amount, deposit.currency),
            name: deposit.username || ''
          })
        }
      })
    },
    async all() {
      try {
        const page = await satmachine.api.get('/clients', {
          limit: 500,
          sortby: 'username',
          direction: 'asc'
        })
        return page.data
      } catch (error) {
        this.say(error.message, 'negative')
        return []
      }
    }
  }
})
