satmachine.component('screen-splits', {
  needs: ['splits-editor', 'flow']
})
