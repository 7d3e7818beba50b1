satmachine.component('screen-discounts', {})
