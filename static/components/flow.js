// The picture of where every sat went: what came in, its parts, and who got
// them. Widths are in proportion; the list of legs below says it in words.
;(() => {
  // Across, the picture is drawn in thousandths of whatever width there is.
  const WIDTH = 1000
  const SLOT = 42
  const SHOWN = 8
  const PART_OF = {
    super_fee: 'platform',
    operator_split: 'operator',
    dca: 'principal',
    refund: 'refund'
  }
  const sum = list => list.reduce((total, {sats}) => total + sats, 0)

  satmachine.component('flow', {
    props: {settlement: {type: Object, required: true}},
    computed: {
      cashOut() {
        return this.settlement.tx_type !== 'cash_in'
      },
      whole() {
        const {wire_sats, principal_sats} = this.settlement
        return this.cashOut ? wire_sats : principal_sats
      },
      legs() {
        return (this.settlement.legs || [])
          .filter(leg => PART_OF[leg.leg_type] && leg.status !== 'voided')
          .filter(leg => !this.isLoss(leg))
          .map(leg => ({
            part: PART_OF[leg.leg_type],
            name: this.legName(leg),
            sats: leg.amount_sats
          }))
      },
      // What the whole divides into; the principal is what the rest leaves.
      parts() {
        const one = this.settlement
        const paid = part => sum(this.legs.filter(leg => leg.part === part))
        const planned = this.legs.length > 0
        const platform = planned ? paid('platform') : one.platform_fee_sats
        // without splits, or with voided ones, the fee is still the operator's
        const shared = planned ? paid('operator') : one.operator_fee_sats
        const operator = paid('refund')
          ? shared
          : Math.max(shared, one.operator_fee_sats)
        const refund = paid('refund')
        const network = one.network_fee_sats || 0
        const fee = refund ? platform + operator : one.fee_sats
        const surplus = Math.max(0, fee - platform - operator - network)
        const rest = this.whole - platform - operator - refund
        const parts = {platform, operator, refund, network, surplus}
        if (this.cashOut) parts.principal = rest - network - surplus
        else parts.customer = one.wire_sats
        return ['customer', 'principal', 'platform', 'operator']
          .concat(['refund', 'surplus', 'network'])
          .map(key => ({key, sats: parts[key] || 0}))
          .filter(({sats}) => sats > 0)
      },
      // Who got each part, biggest first; what nobody got stays in the wallet.
      ends() {
        return this.parts.flatMap(({key, sats}) => {
          if (key === 'customer') {
            return [{part: key, name: this.t('flow.customer'), sats}]
          }
          if (key === 'network') {
            return [{part: key, name: this.t('flow.network'), sats}]
          }
          const own = this.legs
            .filter(leg => leg.part === key)
            .sort((a, b) => b.sats - a.sats)
          const list = own.slice(0, own.length > SHOWN ? SHOWN - 1 : SHOWN)
          const others = own.slice(list.length)
          if (others.length) {
            const name = this.t('flow.others', {n: others.length})
            list.push({part: key, name, sats: sum(others)})
          }
          const kept = sats - sum(own)
          if (kept > 0)
            list.push({part: key, name: this.keptName, sats: kept, kept})
          return list
        })
      },
      keptName() {
        const {status} = this.settlement
        const open = ['awaiting_dispense', 'pending'].includes(status)
        return this.t(open && !this.legs.length ? 'flow.open' : 'flow.kept')
      },
      bar() {
        return this.phone ? 26 : 10
      },
      picture() {
        const scale = 170 / this.whole
        const high = sats => Math.max(2, sats * scale)
        const x1 = this.phone ? 290 : 340
        const x2 = this.phone ? 620 : 680
        const nodes = []
        const ribbons = []
        const inset = 18
        const total = high(this.whole)
        let from = inset
        let middle = 0
        let end = 0
        nodes.push(
          this.node('whole', this.wholeName, this.whole, 0, inset, total, x1)
        )
        this.parts.forEach(({key, sats}) => {
          const mine = this.ends.filter(one => one.part === key)
          const slots = mine.map(one => Math.max(SLOT, high(one.sats) + 8))
          const space = slots.reduce((all, one) => all + one, 0)
          const height = high(sats)
          const at = Math.max(middle, end) + (mine.length ? 2 : 0)
          const name = this.t(`flow.${key}`)
          nodes.push(this.node(key, name, sats, x1, at, height, x2))
          ribbons.push(this.ribbon(key, this.bar, from, height, x1, at))
          from += sats * scale
          let leave = at
          mine.forEach((one, index) => {
            const thick = high(one.sats)
            const kind = one.kept ? 'kept' : key
            nodes.push(
              this.node(
                `${key}${index}`,
                one.name,
                one.sats,
                x2,
                end + 2,
                thick,
                WIDTH,
                kind
              )
            )
            ribbons.push(
              this.ribbon(kind, x1 + this.bar, leave, thick, x2, end + 2)
            )
            leave += one.sats * scale
            end += slots[index]
          })
          middle = at + Math.max(height, SLOT, space ? 0 : SLOT)
        })
        return {
          nodes,
          ribbons,
          height: Math.max(middle, end, total + inset) + 4
        }
      },
      wholeName() {
        return this.t(this.cashOut ? 'flow.wire' : 'flow.paid_in')
      },
      summary() {
        const ends = this.ends.map(
          ({name, sats}) => `${name}: ${this.fmt.sats(sats)}`
        )
        const all = [`${this.wholeName}: ${this.fmt.sats(this.whole)}`]
        return all.concat(ends, this.loss || []).join('. ')
      },
      // What a customer is owed beyond this settlement came from elsewhere: it is
      // no part of the picture.
      loss() {
        const sats = this.settlement.loss_sats
        return sats ? this.t('flow.loss', {sats: this.fmt.sats(sats)}) : ''
      }
    },
    methods: {
      isLoss({leg_type, from_free_balance}) {
        return this.cashOut && leg_type === 'refund' && from_free_balance
      },
      node(key, name, sats, x, y, height, until, kind = key) {
        const whole = key === 'whole'
        const place = {
          left: whole ? 0 : `calc(${(x + this.bar) / 10}% + 6px)`,
          top: `${whole ? y + height + 2 : y - 2}px`,
          width: whole
            ? `${until / 10}%`
            : `calc(${(until - x - this.bar) / 10}% - 14px)`
        }
        return {key, name, sats, x, y, height, kind, place}
      },
      ribbon(kind, x, y, height, toX, toY) {
        const half = (x + toX) / 2
        const path =
          `M${x},${y} C${half},${y} ${half},${toY} ${toX},${toY} ` +
          `v${height} C${half},${toY + height} ${half},${y + height} ` +
          `${x},${y + height} Z`
        return {kind, path}
      }
    }
  })
})()
