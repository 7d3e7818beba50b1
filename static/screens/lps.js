satmachine.component('screen-lps', {
  computed: {
    show() {
      return this.$route.query.show === 'deposits' ? 'deposits' : 'lps'
    },
    invites() {
      return this.store.machines.length && this.can('POST /clients')
    },
    columns() {
      const col = (name, extra) => ({
        name,
        label: this.t(`lps.${name}`),
        sortable: true,
        ...extra
      })
      return [
        col('username'),
        col('machine_id', {sortable: false}),
        col('remaining', {
          right: true,
          format: (amount, row) => this.fmt.fiat(amount, row.currency)
        }),
        col('sats_received', {
          right: true,
          format: value => this.fmt.number(value)
        }),
        col('dca_mode', {format: this.mode}),
        col('status'),
        col('created_at', {format: this.fmt.day})
      ]
    },
    sums() {
      return ['remaining', 'sats_received'].map(name => [
        name,
        this.t(`lps.${name}`)
      ])
    },
    filters() {
      return [
        {
          name: 'status',
          label: this.t('lps.status'),
          options: ['invited', 'active', 'paused', 'left'].map(value => ({
            value,
            label: this.words('client_status', value)
          }))
        },
        {
          name: 'machine_id',
          label: this.t('lps.machine_id'),
          options: this.machineOptions()
        },
        {
          name: 'person',
          label: this.t('lps.person'),
          options: [],
          hidden: true
        },
        {name: 'created_at', type: 'range'}
      ]
    }
  },
  methods: {
    mode(code, {fixed_mode_daily_limit, currency}) {
      const name = this.words('dca_mode', code)
      if (code !== 'fixed' || !fixed_mode_daily_limit) return name
      return `${name}: ${this.fmt.fiat(fixed_mode_daily_limit, currency)}`
    },
    // One person at several machines is one person.
    elsewhere({person_machines: n}) {
      return n > 1 ? this.t('lps.at_machines', {n: this.fmt.number(n)}) : ''
    },
    others({person}) {
      return {path: '/satmachineadmin/lps', query: {person}}
    },
    statusOf({status, has_profile}) {
      if (status === 'active' && !has_profile) {
        return {look: 'busy', label: this.t('lps.no_profile')}
      }
      return {group: 'client_status', code: status}
    },
    choose(show) {
      this.$router.replace({query: show === 'lps' ? {} : {show}})
    },
    refresh() {
      this.$refs.list?.reload(true)
    }
  }
})
