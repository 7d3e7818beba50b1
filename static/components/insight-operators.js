// For the super: operators, the most volume first, and what they owe; how long machines
// were heard; how fees changed.
;(() => {
  const HOUR_SECONDS = 3600
  const STATES = {
    online: 'primary',
    quiet: 'second',
    offline: 'third',
    off: 'fourth'
  }

  satmachine.component('insight-operators', {
    mixins: [satmachine.autoReload],
    props: {between: {type: Object, required: true}},
    data() {
      return {found: [], machines: [], fees: []}
    },
    computed: {
      query() {
        return {...this.between, tz: this.store.zone}
      },
      columns() {
        return [
          'operator',
          'volume',
          'trades',
          'owed',
          'paid',
          'let_go',
          'oldest',
          'states'
        ].map(name => ({name, label: this.t(`insight.op_${name}`)}))
      },
      rows() {
        return this.found.map((one, index) => ({
          key: index,
          operator: this.nameOf(one),
          volume: this.fmt.sats(one.volume_sats),
          trades: this.fmt.number(one.trades),
          owed: this.fmt.sats(one.owed_sats),
          paid: this.fmt.sats(one.paid_sats),
          let_go: this.fmt.sats(one.let_go_sats),
          oldest: one.oldest_unpaid_at
            ? this.fmt.ago(one.oldest_unpaid_at)
            : this.t('insight.op_none'),
          states: this.states(one),
          notes: {
            volume: Object.entries(one.volume_fiat)
              .map(([code, amount]) => this.fmt.fiat(amount, code))
              .join(' + '),
            trades: this.t('insight.op_before', {
              n: this.fmt.number(one.before_trades)
            }),
            oldest: one.oldest_unpaid_at
              ? this.fmt.sats(one.oldest_unpaid_sats)
              : ''
          },
          links: {
            states: one.machine_ids.map(id => ({
              key: id,
              text: this.machineName(id),
              to: {query: {...this.$route.query, machine: id}}
            }))
          },
          to: one.oldest_unpaid_settlement_id && {
            oldest: `/satmachineadmin/settlements/${one.oldest_unpaid_settlement_id}`
          }
        }))
      },
      sets() {
        return [
          {
            label: this.t('insight.op_volume'),
            data: this.found.map(one => one.volume_sats),
            colour: 'primary'
          },
          {
            label: this.t('insight.op_owed'),
            data: this.found.map(one => one.owed_sats),
            colour: 'second'
          }
        ]
      },
      stateColumns() {
        return ['machine', 'operator', ...Object.keys(STATES), 'silences'].map(
          name => ({name, label: this.t(`insight.st_${name}`)})
        )
      },
      stateRows() {
        return this.machines.map(one => {
          const row = {
            key: one.machine_id,
            machine: one.machine,
            operator: this.nameOf(one),
            silences: this.fmt.number(one.silences),
            notes: {
              machine: this.t('insight.known_since', {
                time: this.fmt.time(one.known_since)
              })
            }
          }
          const known = this.knownOf(one)
          Object.keys(STATES).forEach(state => {
            const seconds = one[`${state}_seconds`]
            row[state] = this.hours(seconds)
            row.notes[state] = this.fmt.percent(known ? seconds / known : 0)
          })
          return row
        })
      },
      stateSets() {
        return Object.entries(STATES).map(([state, colour]) => ({
          label: this.t(`insight.st_${state}`),
          data: this.machines.map(
            one => Math.round(one[`${state}_seconds`] / 360) / 10
          ),
          colour
        }))
      },
      stateSentence() {
        const [worst] = this.machines
        if (!worst?.offline_seconds) return this.t('insight.states_well')
        return this.t('insight.states_says', {
          machine: worst.machine,
          hours: this.hours(worst.offline_seconds)
        })
      },
      feeColumns() {
        return ['at', 'fee', 'whose', 'before', 'after'].map(name => ({
          name,
          label: this.t(`insight.fee_${name}`)
        }))
      },
      feeRows() {
        return this.fees.map((one, index) => ({
          key: index,
          at: this.fmt.time(one.at),
          fee: this.words('field', one.fee),
          whose: one.machine || this.t('insight.fee_platform'),
          before: this.feeText(one.before, one.fee),
          after: this.feeText(one.after, one.fee),
          notes: {whose: one.machine ? this.nameOf(one) : ''}
        }))
      },
      feeSentence() {
        const [last] = this.fees
        return last
          ? this.t('insight.fees_says', {
              fee: this.words('field', last.fee),
              whose: last.machine || this.t('insight.fee_platform'),
              time: this.fmt.time(last.at),
              after: this.feeText(last.after, last.fee)
            })
          : this.t('insight.fees_none')
      },
      sentence() {
        if (!this.found.length) return this.t('operators.none')
        const [first] = this.found
        const owed = this.found.reduce((sum, one) => sum + one.owed_sats, 0)
        return this.t('insight.operators_says', {
          name: this.nameOf(first),
          sats: this.fmt.sats(first.volume_sats),
          owed: this.fmt.sats(owed)
        })
      }
    },
    watch: {
      query() {
        this.reload(true)
      }
    },
    methods: {
      async load(api) {
        const [operators, states, fees] = await Promise.all([
          api.get('/super/operators', this.query),
          api.get('/super/states', this.query),
          api.get('/super/fees')
        ])
        return () => {
          this.found = operators.data
          this.machines = states.data
          this.fees = fees.data
        }
      },
      csvUrl(name, query) {
        return satmachine.api.url(`/super/${name}.csv`, {
          ...query,
          ...satmachine.forPeople(this.$i18n.locale)
        })
      },
      knownOf(one) {
        return Object.keys(STATES).reduce(
          (sum, state) => sum + one[`${state}_seconds`],
          0
        )
      },
      hours(seconds) {
        return this.fmt.number(seconds / HOUR_SECONDS, {
          style: 'unit',
          unit: 'hour',
          maximumFractionDigits: 1
        })
      },
      feeText(value, fee) {
        if (value === null) return this.fmt.NOTHING
        return fee.endsWith('fraction')
          ? this.fmt.percent(Number(value))
          : this.fmt.number(Number(value), {minimumFractionDigits: 2})
      },
      nameOf({operator_name}) {
        return operator_name || this.t('operators.unnamed')
      },
      states(one) {
        return ['online', 'quiet', 'offline', 'off']
          .filter(name => one[`${name}_count`])
          .map(name =>
            this.t(`insight.state_${name}`, {
              n: this.fmt.number(one[`${name}_count`])
            })
          )
          .join(', ')
      }
    }
  })
})()
