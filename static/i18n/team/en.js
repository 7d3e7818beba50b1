// The words of fees beside fractions, discounts and the operator's people.
window.i18n.global.mergeLocaleMessage('en', {
  satmachine: {
    fees: {
      with_fixed: '{fees} + {fixed}',
      from: 'from {least}',
      up_to: 'up to {most}',
      fixed_and_limits: 'Fixed fee and limits',
      fixed_out: 'Fixed fee of a cash-out',
      fixed_in: 'Fixed fee of a cash-in',
      fixed_hint: 'Yours, for each trade, beside the percentage. 0: none.',
      least: 'Least cash of a trade',
      most: 'Most cash of a trade',
      limits_hint: 'Empty: no limit.'
    },
    settlement: {
      discount:
        'Code {code}: forgiven {operator} by you, {platform} by the platform.'
    },
    audit_action: {
      staff: {
        invite: 'Somebody asked to work here',
        change: 'Role or machines changed',
        remove: 'Somebody removed',
        leave: 'Left the work here',
        accept: 'Said yes to working here'
      }
    },
    subject: {staff: 'person'},
    field: {
      role: 'role',
      operator_cash_in_fixed_fee: 'fixed cash-in fee',
      operator_cash_out_fixed_fee: 'fixed cash-out fee',
      min_fiat: 'least cash of a trade',
      max_fiat: 'most cash of a trade',
      operator_discount_sats: 'forgiven by the operator',
      platform_discount_sats: 'forgiven by the platform'
    }
  }
})
