// What earns, where and when, for an operator, and for the super over everybody's.
;(() => {
  const MOST_LPS = 12

  satmachine.component('insight-desk', {
    mixins: [satmachine.autoReload],
    props: {
      between: {type: Object, required: true},
      machine: {type: String, default: ''},
      everywhere: Boolean
    },
    data() {
      return {answer: null}
    },
    computed: {
      query() {
        return {
          ...this.between,
          machine_id: this.machine,
          scope: this.everywhere ? 'all' : '',
          tz: this.store.zone
        }
      },
      compared() {
        const {before, time_zone} = this.answer
        return this.t('insight.compared', {
          from: this.fmt.day(before.from),
          to: this.fmt.day(before.to),
          zone: time_zone
        })
      },
      leftOut() {
        const {tests_count: n, tests_sats} = this.answer.left_out
        const sats = this.fmt.sats(tests_sats)
        return n
          ? this.t('insight.tests', {n: this.fmt.number(n), sats}, n)
          : ''
      },
      trades() {
        return this.answer.totals.reduce((sum, one) => sum + one.trades, 0)
      },
      // --- machines
      machineSets() {
        const set = (name, colour) => ({
          label: this.t(`insight.${name}`),
          data: this.answer.machines.map(one => one[`${name}_sats`]),
          colour
        })
        return [set('margin', 'primary'), set('fees_charged', 'second')]
      },
      machineSentence() {
        if (!this.trades) return this.t('insight.nothing_sold')
        const all = this.answer.machines
        const best = all.reduce((a, b) =>
          b.margin_sats > a.margin_sats ? b : a
        )
        const sum = all.reduce((total, one) => total + one.margin_sats, 0)
        return this.t('insight.by_machine_says', {
          machine: best.machine,
          sats: this.fmt.sats(best.margin_sats),
          share: this.fmt.percent(sum > 0 ? best.margin_sats / sum : 0),
          of: this.fmt.percent(best.margin_share)
        })
      },
      machineColumns() {
        return [
          'machine',
          'margin',
          'margin_share',
          'volume',
          'trades',
          'average',
          'fees_received',
          'platform_paid',
          'splits_paid',
          'own_network_fees',
          'refunds',
          'losses',
          'discounts',
          'days_without_sale'
        ].map(name => ({name, label: this.t(`insight.${name}`)}))
      },
      machineRows() {
        return this.answer.machines.map(one => this.machineRow(one))
      },
      // --- days
      byDay() {
        const found = new Map()
        this.answer.days.forEach(row => {
          const day = found.get(row.date) || {
            date: row.date,
            trades: 0,
            cash_out: 0,
            cash_in: 0,
            fiat: []
          }
          day.trades += row.cash_out_count + row.cash_in_count
          day.cash_out += row.cash_out_sats
          day.cash_in += row.cash_in_sats
          day.fiat.push(row)
          found.set(row.date, day)
        })
        return [...found.values()]
      },
      daySets() {
        const set = (name, colour) => ({
          label: this.t(`insight.${name}`),
          data: this.byDay.map(day => day[name]),
          colour
        })
        return [set('cash_out', 'primary'), set('cash_in', 'second')]
      },
      daySentence() {
        if (!this.byDay.length) return this.t('insight.nothing_sold')
        const sum = name => this.byDay.reduce((all, day) => all + day[name], 0)
        const out = sum('cash_out')
        const all = out + sum('cash_in')
        const best = this.byDay.reduce((a, b) =>
          b.cash_out + b.cash_in > a.cash_out + a.cash_in ? b : a
        )
        return this.t('insight.by_day_says', {
          out: this.fmt.percent(all ? out / all : 0),
          day: this.fmt.day(best.date),
          sats: this.fmt.sats(best.cash_out + best.cash_in)
        })
      },
      dayColumns() {
        return ['day', 'trades', 'cash_out', 'cash_in'].map(name => ({
          name,
          label: this.t(`insight.${name}`)
        }))
      },
      dayRows() {
        const fiat = (day, name) =>
          day.fiat
            .filter(row => row[`${name}_count`])
            .map(row => this.fmt.fiat(row[`${name}_fiat`], row.currency))
            .join(' + ')
        return this.byDay.map(day => ({
          key: day.date,
          day: this.fmt.day(day.date),
          trades: this.fmt.number(day.trades),
          cash_out: this.fmt.sats(day.cash_out),
          cash_in: this.fmt.sats(day.cash_in),
          notes: {
            cash_out: fiat(day, 'cash_out'),
            cash_in: fiat(day, 'cash_in')
          }
        }))
      },
      // --- hours
      heatSentence() {
        const hours = new Map()
        this.answer.heat_map.forEach(({weekday, hour, trades}) => {
          const key = `${weekday} ${hour}`
          hours.set(key, (hours.get(key) || 0) + trades)
        })
        if (!hours.size) return this.t('insight.nothing_sold')
        const [[key, n]] = [...hours].sort(([, a], [, b]) => b - a)
        const [weekday, hour] = key.split(' ')
        const at = `2024-01-0${weekday}T12:00:00Z`
        return this.t('insight.heat_says', {
          day: this.fmt.time(at, {weekday: 'long', timeZone: 'UTC'}),
          hour: `${hour.padStart(2, '0')}:00`,
          n: this.fmt.number(n),
          all: this.fmt.number(this.trades)
        })
      },
      // --- LPs
      mostLps() {
        return this.answer.lps.slice(0, MOST_LPS)
      },
      lpSets() {
        return [
          {
            label: this.t('insight.received'),
            data: this.mostLps.map(one => one.received_sats),
            colour: 'primary'
          }
        ]
      },
      lpSentence() {
        const all = this.answer.lps
        if (!all.length) return this.t('insight.no_lps')
        const [first] = all
        return this.t(
          'insight.lps_says',
          {
            n: this.fmt.number(all.length),
            name: first.username || this.fmt.NOTHING,
            fiat: this.fiats(first.at_work),
            sats: this.fmt.sats(
              all.reduce((sum, one) => sum + one.received_sats, 0)
            )
          },
          all.length
        )
      },
      lpColumns() {
        return ['lp', 'at_work', 'received', 'paid_outside'].map(name => ({
          name,
          label: this.t(`insight.${name}`)
        }))
      },
      lpRows() {
        return this.answer.lps.map(one => ({
          key: one.client_ids[0],
          lp: one.username || this.fmt.NOTHING,
          at_work: this.fiats(one.at_work),
          received: this.fmt.sats(one.received_sats),
          paid_outside: this.fmt.sats(one.paid_outside_sats),
          notes: {
            received: one.received_sats ? this.fiats(one.received_fiat) : '',
            lp: this.t(
              'insight.machines_of',
              {n: this.fmt.number(one.machine_ids.length)},
              one.machine_ids.length
            )
          },
          to: this.everywhere
            ? null
            : {lp: `/satmachineadmin/lps/${one.client_ids[0]}`}
        }))
      },
      // --- waits
      waitColumns() {
        return ['who', 'count', 'p50', 'p99'].map(name => ({
          name,
          label: this.t(`insight.${name}`)
        }))
      },
      waitRows() {
        return this.answer.waits
          .filter(one => one.count)
          .map(one => ({
            key: one.who,
            who: this.t(`insight.who_${one.who}`),
            count: this.fmt.number(one.count),
            p50: this.seconds(one.p50_seconds),
            p99: this.seconds(one.p99_seconds)
          }))
      },
      waitSentence() {
        const says = this.answer.waits
          .filter(one => one.count)
          .map(one =>
            this.t(`insight.waits_${one.who}`, {
              p50: this.seconds(one.p50_seconds),
              p99: this.seconds(one.p99_seconds)
            })
          )
        return says.join(' ') || this.t('insight.nobody_waited')
      }
    },
    watch: {
      query() {
        this.reload(true)
      }
    },
    methods: {
      async load(api) {
        const kept = Object.entries(this.query).filter(([, value]) => value)
        const answer = await api.get('/insight', Object.fromEntries(kept))
        return () => (this.answer = answer)
      },
      csvUrl(part) {
        return satmachine.api.url('/insight.csv', {
          part,
          ...this.query,
          ...satmachine.forPeople(this.$i18n.locale)
        })
      },
      fiats(sums) {
        return Object.entries(sums)
          .map(([code, amount]) => this.fmt.fiat(amount, code))
          .join(' + ')
      },
      // How it was in the days before, in words: a colour alone says it to few.
      change(now, before) {
        if (!before) return this.t('insight.before_none')
        const part = (now - before) / Math.abs(before)
        return this.t('insight.before', {
          change: this.fmt.number(part, {
            style: 'percent',
            maximumFractionDigits: 0,
            signDisplay: 'exceptZero'
          })
        })
      },
      tilesOf(total) {
        const tile = name => ({
          label: this.t(`insight.${name}`),
          value: this.fmt.sats(total[`${name}_sats`]),
          notes: [
            this.fmt.fiat(total[`${name}_fiat`], total.currency),
            this.change(total[`${name}_sats`], total.before[`${name}_sats`])
          ]
        })
        return [
          tile('margin'),
          tile('volume'),
          {
            label: this.t('insight.trades'),
            value: this.fmt.number(total.trades),
            notes: [
              this.t('insight.average_of', {
                fiat: this.fmt.fiat(total.average_fiat, total.currency)
              }),
              this.change(total.trades, total.before.trades)
            ]
          },
          tile('fees_received'),
          tile('platform_paid')
        ]
      },
      machineRow(one) {
        const row = {key: one.machine_id, notes: {}, to: {}}
        this.machineColumns.forEach(({name}) => {
          const value = one[`${name}_sats`]
          if (value === undefined) return
          row[name] = this.fmt.sats(value)
          row.notes[name] = this.fmt.fiat(one[`${name}_fiat`], one.currency)
        })
        const discounts = name =>
          Number(one[`operator_discounts_${name}`]) +
          Number(one[`platform_discounts_${name}`])
        return {
          ...row,
          machine: one.machine,
          trades: this.fmt.number(one.trades),
          discounts: this.fmt.sats(discounts('sats')),
          margin_share: this.fmt.percent(one.margin_share),
          days_without_sale: this.fmt.number(one.days_without_sale),
          notes: {
            ...row.notes,
            trades: this.change(one.trades, one.before.trades),
            discounts: this.fmt.fiat(
              discounts('fiat').toFixed(2),
              one.currency
            ),
            margin_share: this.change(one.margin_sats, one.before.margin_sats)
          },
          to: this.isOwn(one.machine_id)
            ? {machine: `/satmachineadmin/machines/${one.machine_id}`}
            : null
        }
      },
      seconds(seconds) {
        const [unit, size] =
          seconds < 120
            ? ['second', 1]
            : seconds < 7200
              ? ['minute', 60]
              : ['hour', 3600]
        return this.fmt.number(Math.round(seconds / size), {
          style: 'unit',
          unit,
          unitDisplay: 'long'
        })
      }
    }
  })
})()
