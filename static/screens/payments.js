satmachine.component('screen-payments', {})
