satmachine.component('screen-payments', {
  needs: ['leg', 'legs']
})
