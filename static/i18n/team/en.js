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
    nav: {discounts: 'Discounts'},
    machine_choice: {
      named: 'These machines',
      none: 'Choose at least one machine.'
    },
    discounts: {
      title: 'Discount codes',
      text: 'A code that a customer types at the machine takes a part off your own fee, never off the platform’s or an LP’s. Each sale says who forgave what.',
      platform: 'Discount codes of the platform',
      platform_text:
        'They take a part off the platform’s share, never off an operator’s fee. Where an operator has a code of the same name, theirs counts at their machines.',
      add: 'New code',
      change: 'Change',
      change_title: 'Change the code {code}',
      end: 'End',
      resume: 'Use again',
      remove: 'Remove',
      code: 'Code',
      code_hint:
        'What customers type: 4 to 24 letters and digits. Capital or small does not matter.',
      code_invalid: 'A code has 4 to 24 letters and digits.',
      share_own: 'Off your fee',
      share_platform: 'Off the platform’s share',
      share_hint: '100 %: nothing of your fee is left.',
      share_hint_all: '100 %: nothing of your share is left.',
      share_invalid: 'Type more than 0 and at most 100, such as 50.',
      fraction: 'Off the fee',
      off: '{share} off',
      from: 'From',
      until: 'Until, with that day',
      until_invalid: 'The last day is before the first.',
      days: 'When',
      days_hint: 'Days of {zone}. Empty: from now on, without an end.',
      from_day: 'from {day}',
      until_day: 'until {day}',
      always: 'without an end',
      valid_until: 'When',
      uses: 'Used',
      uses_of: '{used} of {most}, {left} left',
      forgiven_sats: 'Forgiven',
      max_uses: 'Most uses',
      max_uses_a_day: 'Most uses a day',
      no_limit: 'Empty: no limit.',
      at_all: 'At all my machines, later ones too',
      everywhere: 'At every machine',
      is_active: 'State',
      filter_active: 'In use',
      actions: 'What to do',
      saved: 'The code {code} is saved.',
      end_title: 'End the code {code}?',
      end_text:
        'From now on it gives nothing. Invoices that were made with it keep their price; what it forgave stays on the sales.',
      end_done: 'The code {code} gives nothing any more.',
      resume_title: 'Use the code {code} again?',
      resume_text: 'It counts from now on, within its days and its most uses.',
      resume_done: 'The code {code} is in use again.',
      remove_title: 'Remove the code {code}?',
      remove_text: 'Nobody has used it. It is gone for good.',
      remove_done: 'The code {code} is removed.',
      none: 'No codes yet',
      none_own:
        'Make one for regulars: they type it at the machine, and pay less of your fee.',
      none_platform:
        'Make one, and customers of every machine pay less of the platform’s share.'
    },
    discount_state: {
      on: 'in use',
      later: 'not yet',
      over: 'over',
      used_up: 'used up',
      ended: 'ended'
    },
    settlement: {
      discount_code: 'Discount code',
      discount: 'Discount code {code}: {who}.',
      forgave_you: 'you forgave {sats}',
      forgave_operator: 'the operator forgave {sats}',
      forgave_platform: 'the platform forgave {sats}',
      forgave_nothing: 'nothing was forgiven',
      fact_forgiven_you: 'Forgiven by you',
      fact_forgiven_operator: 'Forgiven by the operator',
      fact_forgiven_platform: 'Forgiven by the platform'
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
