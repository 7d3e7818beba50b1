satmachine.component('screen-machines', {
  computed: {
    columns() {
      return ['name', 'created_at', 'last_seen_at', 'cash_fiat'].map(name => ({
        name,
        label: this.t(`machines.sort_${name}`),
        sortable: true
      }))
    },
    filters() {
      const {machines, otherMachines} = this.store
      const codes = [...machines, ...otherMachines].map(one => one.fiat_code)
      const yesNo = ['true', 'false'].map(value => ({
        value,
        label: this.t(value === 'true' ? 'common.yes' : 'common.no')
      }))
      return [
        {
          name: 'status',
          label: this.t('machines.status'),
          options: ['online', 'quiet', 'offline'].map(value => ({
            value,
            label: this.words('machine_status', value)
          }))
        },
        {
          name: 'fiat_code',
          label: this.t('machine.fiat_code'),
          options: [...new Set(codes)].sort().map(value => ({
            value,
            label: value
          }))
        },
        {
          name: 'is_paired',
          label: this.t('machines.is_paired'),
          options: yesNo
        },
        {
          name: 'is_active',
          label: this.t('machines.is_active'),
          options: yesNo
        }
      ]
    }
  },
  methods: {
    refresh() {
      this.$refs.list?.reload(true)
    },
    async added(machine) {
      await satmachine.live.loadMe()
      this.refresh()
      if (!machine.is_paired) this.$refs.pairing.open(machine)
    }
  }
})
