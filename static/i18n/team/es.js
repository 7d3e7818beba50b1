// The words of fees beside fractions, discounts and the operator's people.
window.i18n.global.mergeLocaleMessage('es', {
  satmachine: {
    fees: {
      with_fixed: '{fees} + {fixed}',
      from: 'desde {least}',
      up_to: 'hasta {most}',
      fixed_and_limits: 'Comisión fija y límites',
      fixed_out: 'Comisión fija de un retiro',
      fixed_in: 'Comisión fija de un ingreso',
      fixed_hint: 'Suya, por operación, además del porcentaje. 0: ninguna.',
      least: 'Efectivo mínimo de una operación',
      most: 'Efectivo máximo de una operación',
      limits_hint: 'Vacío: sin límite.'
    },
    settlement: {
      discount:
        'Código {code}: usted perdonó {operator}; la plataforma, {platform}.'
    },
    audit_action: {
      staff: {
        invite: 'Se invitó a alguien a trabajar aquí',
        change: 'Función o cajeros cambiados',
        remove: 'Se retiró a alguien',
        leave: 'Dejó de trabajar aquí',
        accept: 'Aceptó trabajar aquí'
      }
    },
    subject: {staff: 'persona'},
    field: {
      role: 'función',
      operator_cash_in_fixed_fee: 'comisión fija de ingreso',
      operator_cash_out_fixed_fee: 'comisión fija de retiro',
      min_fiat: 'efectivo mínimo de una operación',
      max_fiat: 'efectivo máximo de una operación',
      operator_discount_sats: 'perdonado por el operador',
      platform_discount_sats: 'perdonado por la plataforma'
    }
  }
})
